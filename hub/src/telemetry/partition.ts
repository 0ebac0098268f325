/**
 * One partition file as SQLite sees it: write-ahead log, no sync at each commit. What is committed is in the hands
 * of the operating system and outlives the end of the process; `sync` brings it to the disk. A torn end of the log
 * is cut by SQLite itself when the file is opened again.
 */
import { closeSync, existsSync, openSync, renameSync, statSync } from "node:fs";
import Database from "better-sqlite3";

/** Of one open partition. */
const CACHE_KIB = 4_096;
const BUSY_MS_MAX = 1_000;
const SUFFIXES = ["", "-wal", "-shm"] as const;

export type Sql = Database.Database;
export type Statement = Database.Statement<unknown[]>;

/** Throws what SQLite says; `isDamage` tells whether the file is to blame. */
export function openPartition(path: string, schema: string): Sql {
  // SQLite gives what it puts beside the file the file's mode.
  closeSync(openSync(path, "a", 0o600));
  const db = new Database(path, { timeout: BUSY_MS_MAX });
  try {
    db.pragma("journal_mode = wal");
    db.pragma("synchronous = normal");
    db.pragma(`cache_size = -${CACHE_KIB}`);
    db.pragma("trusted_schema = off");
    db.exec(schema);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** All that is committed is on the disk when it returns. */
export function syncPartition(db: Sql): void {
  db.pragma("wal_checkpoint(passive)");
}

export function isDamage(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^SQLITE_(CORRUPT|NOTADB|FORMAT)/.test(code);
}

export function isFull(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "SQLITE_FULL" || code === "ENOSPC";
}

/** With what stands beside it. */
export function bytesOf(path: string): number {
  return SUFFIXES.reduce(
    (sum, suffix) => sum + (statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** Never repaired, never believed: it is kept for whoever wants to look, as long as its age and size allow. */
export function setAside(path: string): void {
  for (const suffix of SUFFIXES) {
    if (existsSync(path + suffix)) renameSync(path + suffix, `${path}.damaged${suffix}`);
  }
}

export const PARTITION_SUFFIXES = SUFFIXES;
