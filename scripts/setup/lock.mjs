/**
 * One set-up at a time in one checkout. The lock is a file that names its holder (pid and start time), made whole by
 * a hard link; a lock whose holder is gone is taken over, so an interrupted run never blocks the next one.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { SetupProblem } from "./problem.mjs";

const LOCK_POLL_MS = 200;
/** Longer than any set-up on a slow line; after it the sentence says who holds the lock. */
const LOCK_WAIT_MS_MAX = 15 * 60_000;

/**
 * @template T
 * @param {string} path
 * @param {(line: string) => void} say told once when there is somebody to wait for
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, say, work) {
  await acquire(path, say);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/**
 * @param {string} path
 * @param {(line: string) => void} say
 */
async function acquire(path, say) {
  const mine = `${path}.${process.pid}`;
  const until = Date.now() + LOCK_WAIT_MS_MAX;
  writeFileSync(mine, holderOf(process.pid) ?? `${process.pid} 0`);
  try {
    for (let isFirst = true; !tryLink(mine, path); isFirst = false) {
      const holder = readText(path);
      if (holder === undefined) continue;
      if (isGone(holder)) takeAway(path, holder);
      else await waitFor(holder, { path, until, say: isFirst ? say : () => undefined });
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/**
 * @param {string} holder
 * @param {{path: string, until: number, say: (line: string) => void}} wait
 */
async function waitFor(holder, { path, until, say }) {
  const [pid] = holder.split(" ");
  if (Date.now() > until) {
    throw new SetupProblem(
      `Another set-up (process ${pid}) has held ${path} for ${LOCK_WAIT_MS_MAX / 60_000} minutes; wait for it or end it, and run the command again.`,
    );
  }
  say(`waiting for another set-up in this checkout (process ${pid})`);
  await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
}

/**
 * @param {string} from
 * @param {string} to
 */
function tryLink(from, to) {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * Removes the lock of a holder that is gone. Between the look and the rename somebody else may have done the same and
 * locked anew: then what was taken is a live lock, and it is put back.
 * @param {string} path
 * @param {string} holder
 */
function takeAway(path, holder) {
  const aside = `${path}.${process.pid}.gone`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  if (readText(aside) !== holder) tryLink(aside, path);
  rmSync(aside, { force: true });
}

/** @param {string} holder */
function isGone(holder) {
  return holderOf(Number(holder.split(" ")[0])) !== holder;
}

/**
 * "pid start-time" of a living process; undefined when there is none. The start time (field 22 of /proc/PID/stat, the
 * 20th after the command's closing bracket) tells a pid that was given out again from its first owner.
 * @param {number} pid
 */
export function holderOf(pid) {
  const stat = readText(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  return `${pid} ${started}`;
}

/** @param {string} path */
function readText(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return undefined;
    throw error;
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
