/** Reads rows from a PostgreSQL table through one connection, in read-only transactions of bounded time. */
import type pg from "pg";
import { decodeSourceRows, SOURCE_COLUMNS, SOURCE_TABLE } from "./decode.ts";
import type { Source } from "./model.ts";
import { postgresPool } from "./postgres-pool.ts";

export function postgresSource(dsn: string): Source {
  const pool: pg.Pool = postgresPool(dsn, { connectionsMax: 1, readOnly: true });
  return {
    async read(account, afterId, limit) {
      const { rows } = await pool.query(
        `select ${SOURCE_COLUMNS} from ${SOURCE_TABLE} where account = $1 and id > $2 order by id limit $3`,
        [account, afterId, limit],
      );
      return decodeSourceRows(rows);
    },
    async close() {
      await pool.end();
    },
  };
}
