/**
 * The hub's incarnation: which life of the hub this database lives. A restored or promoted database is
 * another life, because what the last one said after the backup is missing in it.
 */
import type { Database } from "./database.ts";
import { databaseFault } from "./sqlstate.ts";

/** At start: notes cluster and timeline; a change of either begins a new incarnation. */
export function enterIncarnation(database: Database): Promise<bigint> {
  return one(database, "select wall.enter_incarnation() as incarnation");
}

/** The present one; 0 before the first start. */
export async function incarnation(database: Database): Promise<bigint> {
  return one(database, "select coalesce(wall.incarnation(), 0) as incarnation");
}

async function one({ pool }: Database, sql: string): Promise<bigint> {
  try {
    const { rows } = await pool.query<{ incarnation: bigint }>(sql);
    return rows[0]?.incarnation ?? 0n;
  } catch (error) {
    throw databaseFault(error);
  }
}
