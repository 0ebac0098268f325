/** Reads either database in one snapshot, for checks; the worker itself does not use it. */
import { DatabaseSync } from "node:sqlite";
import { isPostgres } from "./model.ts";
import { postgresPool } from "./postgres-pool.ts";

const BUSY_TIMEOUT_MS = 5_000;

export type Columns = Readonly<Record<string, unknown>>;

/** Every query sees the database as it was at the first one. */
export interface Reader {
  /** Parameters are $1, $2 … in both databases. */
  query(sql: string, parameters: readonly (string | number)[]): Promise<readonly Columns[]>;
  close(): Promise<void>;
}

/** `location` is a path of a SQLite file or a DSN. Throws when it cannot be opened. */
export function openReader(location: string): Promise<Reader> {
  return isPostgres(location) ? postgresReader(location) : sqliteReader(location);
}

async function sqliteReader(path: string): Promise<Reader> {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  database.exec("begin");
  return {
    async query(sql, parameters) {
      const statement = database.prepare(sql.replace(/\$(\d)/g, "?$1"));
      statement.setReadBigInts(true);
      return statement.all(...parameters);
    },
    async close() {
      database.close();
    },
  };
}

async function postgresReader(dsn: string): Promise<Reader> {
  const pool = postgresPool(dsn, { connectionsMax: 1, readOnly: true });
  const client = await pool.connect();
  await client.query("begin isolation level repeatable read read only");
  return {
    async query(sql, parameters) {
      const { rows } = await client.query(sql, [...parameters]);
      return rows;
    },
    async close() {
      client.release(true);
      await pool.end();
    },
  };
}
