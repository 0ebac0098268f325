/**
 * One hub for one data directory: a file with pid and start time. A lock whose process is gone is taken
 * over; one that is alive is refused, by name.
 */
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { startOf } from "./processes.ts";

const TRIES_MAX = 5;

export type DataLock = Readonly<{ release(): Promise<void> }>;

/** Throws FAILED_PRECONDITION `DATA_DIR_LOCKED` naming the other hub's pid. */
export async function lockDataDir(dataDir: string, pid: number): Promise<DataLock> {
  const path = join(dataDir, "hub.lock");
  const mine = `${path}.${pid}`;
  await writeFile(mine, `${pid} ${await startOf(pid)}\n`, { mode: 0o600 });
  try {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      if (await linked(mine, path)) return { release: () => unlock(path, pid) };
      const holder = await holderOf(path);
      if (holder !== undefined) throw locked(dataDir, holder);
      // Moved, not removed: of two who find the same dead lock only one moves it.
      await rename(path, `${path}.dead.${pid}`).catch(() => undefined);
      await rm(`${path}.dead.${pid}`, { force: true });
    }
    throw locked(dataDir, 0);
  } finally {
    await rm(mine, { force: true });
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** The pid in the lock, if that process lives. */
async function holderOf(path: string): Promise<number | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  const [pid, start] = text.trim().split(" ");
  const isHeld = start !== undefined && (await startOf(Number(pid))) === start;
  return isHeld ? Number(pid) : undefined;
}

async function unlock(path: string, pid: number): Promise<void> {
  if ((await holderOf(path)) === pid) await rm(path, { force: true });
}

function locked(dataDir: string, pid: number): Fault {
  return new Fault(
    "FAILED_PRECONDITION",
    "DATA_DIR_LOCKED",
    `data_dir ${dataDir} is in use by another hub, pid ${pid}`,
    { next: `kill ${pid}`, metadata: { pid: String(pid) } },
  );
}
