/**
 * Transactions: each begins with the limits and the signed context, then runs the work, then commits.
 * There is no way to a connection without a context. A lost connection is never retried here, since the
 * commit may have happened; serialisation failures and deadlocks are, a few times.
 */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type pg from "pg";
import { CONTEXT_LIFE_MS_MAX, type Context, signContext } from "./context.ts";
import {
  type Database,
  type DatabaseWork,
  ensureContextKey,
  noteServerClock,
  refuseIfBusy,
} from "./database.ts";
import { databaseFault, isConnectionLoss, isPlanOutdated, isTransient } from "./sqlstate.ts";

export const STATEMENT_MS_MAX = 5_000;
export const LOCK_MS_MAX = 3_000;
export const IDLE_IN_TRANSACTION_MS_MAX = 10_000;
export const TX_RETRIES_MAX = 4;
const READ = "isolation level repeatable read read only";
const WRITE = "read write";
const ENTER =
  "select set_config('holdfast.context', $1, true), set_config('holdfast.mac', $2, true)";
const RETRY_BOUNDS = { baseMs: 5, capMs: 100 };

export interface Tx {
  readonly context: Context;
  /**
   * Rows as objects by column name; bigint as bigint, timestamptz as Date. Statements that are asked at once go in one
   * round trip, in their order. Throws a Fault (`sqlstate.ts`).
   */
  query<Row>(sql: string, params?: readonly unknown[]): Promise<Row[]>;
  /** Runs once the transaction is committed, or may be (then with false), in order; must not throw. For doorbells. */
  afterCommit(run: (isCommitted: boolean) => void): void;
  /** For its clock and doorbells; statements go through `query` alone. */
  readonly database: Database;
}

export type TxOptions = Readonly<{ statementMsMax?: number }>;

/** Runs `work` in one transaction. `work` may run again from the start after a conflict. */
export function withContext<T>(
  database: Database,
  context: Context,
  work: (tx: Tx) => Promise<T>,
  options: TxOptions = {},
): Promise<T> {
  return watched(database, "write", () =>
    retried(database, () => once(database, context, work, WRITE, options)),
  );
}

/** The same for work that only reads: one snapshot for all its statements, writes refused. */
export function readWithContext<T>(
  database: Database,
  context: Context,
  work: (tx: Tx) => Promise<T>,
  options: TxOptions = {},
): Promise<T> {
  return watched(database, "read", () =>
    retried(database, () => once(database, context, work, READ, options)),
  );
}

/** Times the work and tells the database's watch how it ended. */
export async function watched<T>(
  database: Database,
  kind: DatabaseWork["kind"],
  work: () => Promise<T>,
): Promise<T> {
  const startMs = database.clock.monotonic();
  const ended = (isOk: boolean) =>
    database.watch({ kind, isOk, ms: database.clock.monotonic() - startMs });
  try {
    const answer = await work();
    ended(true);
    return answer;
  } catch (error) {
    ended(false);
    throw error;
  }
}

async function retried<T>(database: Database, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      const cause = error instanceof Fault ? error.cause : error;
      if (!isTransient(cause) || failures >= TX_RETRIES_MAX) throw databaseFault(error);
      if (isPlanOutdated(cause)) database.statementNames?.renew();
      await database.clock.sleep(fullJitter(RETRY_BOUNDS, failures, database.random));
    }
  }
}

async function once<T>(
  database: Database,
  context: Context,
  work: (tx: Tx) => Promise<T>,
  mode: typeof READ | typeof WRITE,
  options: TxOptions,
): Promise<T> {
  refuseIfBusy(database);
  const client = await database.pool.connect();
  let broken: Error | undefined;
  const lost = (error: Error) => {
    broken = error;
  };
  client.on("error", lost);
  const rings: ((isCommitted: boolean) => void)[] = [];
  try {
    const { entered } = await begin(database, client, context, mode, options);
    const tx: Tx = {
      context,
      database,
      async query<Row>(sql: string, params: readonly unknown[] = []) {
        const name = database.statementNames?.of(sql);
        const text = name === undefined ? { text: sql } : { text: sql, name };
        try {
          return (await client.query({ ...text, values: params as unknown[] })).rows as Row[];
        } catch (error) {
          await entered;
          throw databaseFault(error);
        }
      },
      afterCommit: (run) => void rings.push(run),
    };
    const answer = await work(tx);
    await entered;
    const end = client.query("commit");
    if (mode === READ) {
      // Nothing depends on how it ends; a connection that is lost tells its pool.
      end.catch(() => undefined);
      return answer;
    }
    const done = await end.catch((error: unknown) => {
      // It may be committed all the same, and then nobody else would ring. A ring too many does no harm.
      if (isConnectionLoss(error)) for (const ring of rings) ring(false);
      throw error;
    });
    if (done.command !== "COMMIT") {
      throw new Fault("INTERNAL", "TX_ABORTED", "a statement failed and its error was swallowed");
    }
    for (const ring of rings) ring(true);
    return answer;
  } catch (error) {
    const cause = error instanceof Fault ? error.cause : error;
    if (isConnectionLoss(cause)) broken ??= cause as Error;
    else await client.query("rollback").catch(lost);
    throw error;
  } finally {
    client.off("error", lost);
    client.release(broken);
  }
}

/**
 * Plans are kept and fit any value: the planner would make one anew at each call, since the wall has it expect a single
 * row wherever it looks. One round trip, which learns what to bind the context to. The context then goes out with the first statement;
 * `entered` tells that it was taken.
 */
async function begin(
  database: Database,
  client: pg.PoolClient,
  context: Context,
  mode: string,
  options: TxOptions,
): Promise<Readonly<{ entered: Promise<unknown> }>> {
  const results = (await client.query(
    `begin ${mode};
     set local statement_timeout = ${options.statementMsMax ?? STATEMENT_MS_MAX};
     set local lock_timeout = ${LOCK_MS_MAX};
     set local idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS_MAX};
     set local plan_cache_mode = force_generic_plan;
     select wall.transaction() as transaction,
            (extract(epoch from statement_timestamp()) * 1000)::float8 as now`,
  )) as unknown as readonly pg.QueryResult<{ transaction: string; now: number }>[];
  const row = results.at(-1)?.rows[0];
  if (row === undefined)
    throw new Fault("INTERNAL", "DATABASE", "the database named no transaction");
  noteServerClock(database, row.now);
  const life = Math.max(CONTEXT_LIFE_MS_MAX, options.statementMsMax ?? 0);
  await ensureContextKey(database, life);
  const { said, mac } = signContext(
    database.contextKey,
    context,
    { transaction: row.transaction },
    row.now + life,
  );
  const name = database.statementNames?.of(ENTER);
  const text = name === undefined ? { text: ENTER } : { text: ENTER, name };
  const entered = client.query({ ...text, values: [said, mac] });
  // Who asks next waits for it; until then nobody listens.
  entered.catch(() => undefined);
  return { entered };
}
