/** Partitions of the usage ledger, one for each month. The app role may not create them; a function may. */
import type { Database } from "./database.ts";
import { databaseFault } from "./sqlstate.ts";

/** Months around now that exist: readings are taken up to 35 days late. */
const MONTHS_BEFORE = 2;
const MONTHS_AFTER = 2;

/** Makes those around `now` (ms since 1970) that are missing. At start and now and then. */
export async function ensure({ pool }: Database, now: number): Promise<void> {
  const date = new Date(now);
  for (let at = -MONTHS_BEFORE; at <= MONTHS_AFTER; at++) {
    const month = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + at, 1));
    try {
      await pool.query("select wall.ensure_usage_month($1::date)", [
        month.toISOString().slice(0, 10),
      ]);
    } catch (error) {
      throw databaseFault(error);
    }
  }
}
