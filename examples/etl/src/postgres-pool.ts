/** Connections to a PostgreSQL with every time limit set by hand, so that a turn of the worker's loop ends. */
import pg from "pg";

const CONNECT_TIMEOUT_MS = 2_000;
/** The server gives up at the first, the client, should the server be gone, at the second. */
const STATEMENT_TIMEOUT_MS = 4_000;
const QUERY_TIMEOUT_MS = 5_000;
const LOCK_TIMEOUT_MS = 1_000;
/** Frees the locks of a copy that was stopped in the middle of its transaction. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;

export type PoolOptions = Readonly<{ connectionsMax: number; readOnly: boolean }>;

export function postgresPool(dsn: string, { connectionsMax, readOnly }: PoolOptions): pg.Pool {
  const pool = new pg.Pool({
    connectionString: dsn,
    max: connectionsMax,
    application_name: "holdfast-etl",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    options: `-c timezone=UTC -c default_transaction_read_only=${readOnly ? "on" : "off"}`,
  });
  // An idle connection that breaks is replaced by the next query, which tells what is wrong.
  pool.on("error", () => undefined);
  return pool;
}
