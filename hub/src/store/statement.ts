/**
 * Calls of one function of the database in one round trip: the context goes along and is bound to the body that
 * the function is given, instead of to a transaction. The functions take (said, mac, body), set the context and
 * run with the caller's rights, so the wall holds inside.
 */
import { createHash } from "node:crypto";
import { type Context, STATEMENT_CONTEXT_LIFE_MS_MAX, signContext } from "./context.ts";
import {
  type Database,
  lookAtServerClock,
  refuseIfBusy,
  renewContextKey,
  serverNow,
} from "./database.ts";
import { databaseFault, isPlanOutdated, isTransient } from "./sqlstate.ts";
import { TX_RETRIES_MAX, watched } from "./tx.ts";

export type StatementFunction = "wall.usage_ingest" | "wall.sign_in";

/** What the function answers, null included. May run again after a conflict. Throws a Fault (`sqlstate.ts`). */
export function callOnce<Answer>(
  database: Database,
  context: Context,
  called: StatementFunction,
  body: string,
): Promise<Answer | null> {
  return watched(database, "statement", () => call<Answer>(database, context, called, body));
}

async function call<Answer>(
  database: Database,
  context: Context,
  called: StatementFunction,
  body: string,
): Promise<Answer | null> {
  refuseIfBusy(database);
  const digest = createHash("sha256").update(body).digest("hex");
  const sql = `select ${called}($1, $2, $3) as answer`;
  for (let failures = 0; ; failures++) {
    const expiresAt = serverNow(database) + STATEMENT_CONTEXT_LIFE_MS_MAX;
    const { said, mac } = signContext(database.contextKey, context, { body: digest }, expiresAt);
    const name = database.statementNames?.of(sql);
    const text = name === undefined ? { text: sql } : { text: sql, name };
    try {
      const { rows } = await database.pool.query<{ answer: Answer | null }>({
        ...text,
        values: [said, mac, body],
      });
      return rows[0]?.answer ?? null;
    } catch (error) {
      const message = error instanceof Error ? error.message : "";
      const isStale = message === "CONTEXT_EXPIRED" || message === "CONTEXT_FORGED";
      if (!(isTransient(error) || isStale) || failures >= TX_RETRIES_MAX) {
        throw databaseFault(error);
      }
      if (isPlanOutdated(error)) database.statementNames?.renew();
      // Clock or key ran out before they were used: the machine slept, or a clock jumped.
      if (isStale) await lookAtServerClock(database);
      if (message === "CONTEXT_FORGED") await renewContextKey(database);
    }
  }
}
