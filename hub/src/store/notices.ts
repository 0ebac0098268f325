/**
 * Short notes between the processes of one hub over PostgreSQL's LISTEN and NOTIFY. One that nobody hears is gone, so
 * nothing may depend on one: whoever begins to listen looks for itself first.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import pg from "pg";
import { type Connection, clientConfig, type Database } from "./database.ts";
import { databaseFault } from "./sqlstate.ts";

const CHANNEL = "holdfast";
/** PostgreSQL's own bound is 8,000. */
export const NOTICE_BYTES_MAX = 7_900;
/** A way to the server that is gone without a word is found out within these two. */
export const LISTEN_CHECK_MS = 15_000;
const LISTEN_ANSWER_MS_MAX = 5_000;

/** Sent at once, in a transaction of its own. Throws a Fault. */
export async function announce({ pool }: Database, text: string): Promise<void> {
  const sql = "select pg_notify($1, $2)";
  await pool.query(sql, [CHANNEL, text]).catch((error: unknown) => {
    throw databaseFault(error);
  });
}

/** Whether what is announced is heard over `connection`, tried with `text`. Throws a Fault, DEADLINE_EXCEEDED if it is not. */
export async function tryNotices(
  database: Database,
  connection: Connection,
  text: string,
): Promise<void> {
  const heard = new AbortController();
  const late = new AbortController();
  const listener: Listener = {
    listening: () => void announce(database, text).catch(() => undefined),
    heard: (notice) => notice === text && heard.abort(),
  };
  void database.clock.sleep(LISTEN_ANSWER_MS_MAX, heard.signal).then(() => late.abort());
  await listen(database, connection, listener, AbortSignal.any([heard.signal, late.signal]));
  if (heard.signal.aborted) return;
  const message = `a notice was not heard within ${LISTEN_ANSWER_MS_MAX} ms; a pooler in between hands none on`;
  const next = "name the database itself in listen_database_url";
  throw new Fault("DEADLINE_EXCEEDED", "NOTICE_LOST", message, { next });
}

export type Listener = Readonly<{
  /** From now on nothing is missed until the connection is lost. */
  listening(): void;
  heard(text: string): void;
}>;

/** Until the signal. Throws a Fault when the connection cannot be made or is lost. */
export async function listen(
  { clock }: Pick<Database, "clock">,
  connection: Connection,
  { listening, heard }: Listener,
  signal: AbortSignal,
): Promise<void> {
  const client = new pg.Client({
    ...clientConfig(connection, "holdfast-listen"),
    query_timeout: LISTEN_ANSWER_MS_MAX,
  });
  const gone = new AbortController();
  const ended = AbortSignal.any([signal, gone.signal]);
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
    gone.abort();
  });
  client.on("end", () => gone.abort());
  client.on("notification", ({ payload }) => heard(payload ?? ""));
  try {
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    listening();
    while (!ended.aborted) {
      await clock.sleep(LISTEN_CHECK_MS, ended);
      if (!ended.aborted) await client.query("select 1");
    }
  } catch (error) {
    throw databaseFault(lost ?? error);
  } finally {
    await client.end().catch(() => undefined);
  }
  if (signal.aborted) return;
  if (lost !== undefined) throw databaseFault(lost);
  throw new Fault("UNAVAILABLE", "DATABASE_UNAVAILABLE", "the connection that listens has ended");
}
