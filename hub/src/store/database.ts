/**
 * Connections of the hub: one pool of the app role, and the keys that sign its contexts.
 * The owner and the key login are used for moments only and never pooled.
 */
import { randomBytes } from "node:crypto";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import pg from "pg";
import { CONTEXT_KEY_LIFE_MS_MAX, type ContextKey, mintContextKey } from "./context.ts";
import { databaseFault } from "./sqlstate.ts";
import { StatementNames } from "./statement-names.ts";

/** Where a database is: a URL, or a Unix socket directory with a login. */
export type Connection = Readonly<
  { url: string } | { socketDir: string; port: number; user: string; database: string }
>;

export const POOL_CONNECTIONS_MAX = 16;
/** Who waits for a connection longer, or behind more others, is told that the database is busy. */
export const CONNECT_MS_MAX = 5_000;
export const POOL_WAITERS_MAX = 512;
const BUSY_RETRY_MS = 1_000;
const IDLE_MS_MAX = 30_000;
/**
 * Of one statement, counted here. The server ends statements much sooner by itself (STATEMENT_MS_MAX); this is
 * for a server or a way to it that is gone without a word.
 */
export const ANSWER_MS_MAX = 30_000;

/** `statement`: one function in one round trip. */
export type DatabaseWork = Readonly<{
  kind: "read" | "write" | "statement";
  isOk: boolean;
  ms: number;
}>;

/** What every transaction needs. Made by `openDatabase`, ended by `close`. */
export interface Database {
  readonly pool: pg.Pool;
  readonly clock: Clock;
  readonly random: Random;
  /** The key that signs now, and when the database stops to believe it (ms by its clock). */
  contextKey: Readonly<ContextKey & { expiresAt: number }>;
  /** So that all who find the key run out wait for one new key. */
  renewal: Promise<void> | undefined;
  readonly keyConnection: Connection;
  /** Where to listen for other processes of this hub; undefined where there can be none. */
  readonly listenConnection: Connection | undefined;
  /** Undefined where connections keep no plans. */
  readonly statementNames: StatementNames | undefined;
  /** Rung after each commit that appended events; the sequencer waits at it. */
  readonly eventBell: Doorbell;
  /** Hears how each transaction ended, its wait for a connection included. */
  watch: (ended: DatabaseWork) => void;
  /** The database's clock as last seen, and when by the monotonic clock: contexts expire by it. */
  serverTime: Readonly<{ ms: number; seenAt: number }>;
  close(): Promise<void>;
}

export type DatabaseDeps = Readonly<{
  app: Connection;
  key: Connection;
  /** Where other processes may serve from the same database: a way to it without a pooler. */
  listen?: Connection | undefined;
  clock: Clock;
  random: Random;
  log: Log;
  /** Connections keep plans: there is no pooler in between, or one that knows named statements. */
  prepares?: boolean;
  connectionsMax?: number;
  answerMsMax?: number;
}>;

/** bigint as bigint; the rest as pg does it (timestamptz: Date, jsonb: parsed, bytea: Buffer, numeric: text). */
const parsers: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text") =>
    oid === 20 ? (text: string) => BigInt(text) : pg.types.getTypeParser(oid, format)) as never,
};

export function clientConfig(connection: Connection, name: string): pg.ClientConfig {
  const place =
    "url" in connection
      ? { connectionString: connection.url }
      : {
          host: connection.socketDir,
          port: connection.port,
          user: connection.user,
          database: connection.database,
        };
  return {
    ...place,
    application_name: name,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    keepAlive: true,
    types: parsers,
  };
}

/** Writes a context key and opens the pool. Throws UNAVAILABLE `DATABASE_UNAVAILABLE`. */
export async function openDatabase(deps: DatabaseDeps): Promise<Database> {
  const contextKey = await writeContextKey(deps.key);
  const pool = new pg.Pool({
    ...clientConfig(deps.app, "holdfast-hub"),
    max: deps.connectionsMax ?? POOL_CONNECTIONS_MAX,
    // Statements of one transaction that do not need each other's answers go in one round trip.
    pipeline: true,
    idleTimeoutMillis: IDLE_MS_MAX,
    query_timeout: deps.answerMsMax ?? ANSWER_MS_MAX,
    maxLifetimeSeconds: 3_600,
  });
  // Between being handed out and being used a connection has no other listener, and an error without one would
  // end the process: a server that dies may say so in the same breath in which it greets.
  pool.on("connect", (client) => client.on("error", () => undefined));
  pool.on("error", (error) => deps.log.warn({ error: error.message }, "idle connection lost"));
  const database: Database = {
    pool,
    clock: deps.clock,
    random: deps.random,
    contextKey,
    renewal: undefined,
    keyConnection: deps.key,
    listenConnection: deps.listen,
    statementNames: deps.prepares === true ? new StatementNames() : undefined,
    eventBell: new Doorbell(deps.clock),
    watch: () => undefined,
    serverTime: { ms: 0, seenAt: 0 },
    close: () => pool.end(),
  };
  await lookAtServerClock(database);
  return database;
}

/** How the pool is used now. */
export function poolUse({ pool }: Database) {
  const { totalCount, idleCount, waitingCount, options } = pool;
  return {
    inUse: totalCount - idleCount,
    idle: idleCount,
    waiting: waitingCount,
    max: options.max,
  };
}

/** Throws RESOURCE_EXHAUSTED `DATABASE_BUSY` when POOL_WAITERS_MAX wait for a connection already. */
export function refuseIfBusy({ pool }: Database): void {
  if (pool.waitingCount < POOL_WAITERS_MAX) return;
  const used = pool.waitingCount;
  throw new Fault(
    "RESOURCE_EXHAUSTED",
    "DATABASE_BUSY",
    `${used} calls wait for the database; allowed: ${POOL_WAITERS_MAX}; try again in ${BUSY_RETRY_MS / 1_000} s`,
    {
      retryAfterMs: BUSY_RETRY_MS,
      metadata: {
        limit: String(POOL_WAITERS_MAX),
        used: String(used),
        reset_ms: String(BUSY_RETRY_MS),
      },
    },
  );
}

/** Reads the database's clock. */
export async function lookAtServerClock(database: Database): Promise<void> {
  const sql = "select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms";
  const { rows } = await database.pool.query<{ ms: number }>(sql).catch((error: unknown) => {
    throw databaseFault(error);
  });
  noteServerClock(database, rows[0]?.ms ?? 0);
}

export function noteServerClock(database: Database, ms: number): void {
  database.serverTime = { ms, seenAt: database.clock.monotonic() };
}

/** The database's clock now, as far as the hub can tell; ms since 1970. */
export function serverNow({ serverTime, clock }: Database): number {
  return serverTime.ms + clock.monotonic() - serverTime.seenAt;
}

/** A new key now; the old one stays good until it expires. */
export function renewContextKey(database: Database): Promise<void> {
  database.renewal ??= writeContextKey(database.keyConnection)
    .then((key) => {
      database.contextKey = key;
    })
    .finally(() => {
      database.renewal = undefined;
    });
  return database.renewal;
}

/**
 * A new key if the present one does not last for another `ms`. Timers alone do not see to it: they stand
 * still while the machine sleeps.
 */
export async function ensureContextKey(database: Database, ms: number): Promise<void> {
  if (database.contextKey.expiresAt - database.serverTime.ms < ms) await renewContextKey(database);
}

async function writeContextKey(connection: Connection): Promise<Database["contextKey"]> {
  const key = mintContextKey(randomBytes(32));
  const work = async (client: pg.Client) => {
    await client.query("select wall.forget_context_keys()");
    const { rows } = await client.query<{ now: number }>(
      "select (extract(epoch from now()) * 1000)::float8 as now",
    );
    const expiresAt = (rows[0]?.now ?? 0) + CONTEXT_KEY_LIFE_MS_MAX;
    await client.query(
      `insert into wall.context_key (id, inner_pad, outer_pad, expires_at)
       values ($1, $2, $3, to_timestamp($4::float8 / 1000))`,
      [key.id, key.inner, key.outer, expiresAt],
    );
    return { ...key, expiresAt };
  };
  return withClient(connection, "holdfast-key", work, ANSWER_MS_MAX);
}

/** One connection for the time of `work`. For the owner, who may take long, and the key login, on whom all wait. */
export async function withClient<T>(
  connection: Connection,
  name: string,
  work: (client: pg.Client) => Promise<T>,
  answerMsMax?: number,
): Promise<T> {
  const client = new pg.Client({
    ...clientConfig(connection, name),
    ...(answerMsMax !== undefined && { query_timeout: answerMsMax }),
  });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error;
  });
  try {
    await client.connect();
    return await work(client);
  } catch (error) {
    throw error instanceof Fault ? error : databaseFault(lost ?? error);
  } finally {
    await client.end().catch(() => undefined);
  }
}
