/**
 * One temporary folder for a whole run of the tests, which goes with it: also what a test that fails, or a server that
 * it started, leaves behind, and what runs that were killed left. Programs that were started from such a folder, and
 * control groups of agents whose state was in it, and mounts of engines, go too; those of anybody else are not touched. Open to all users,
 * since some tests start programs as another one.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pruneGroups } from "../agent/src/drivers/host-process/cgroup.ts";

/** Files that a process which is just ending still writes. */
const REMOVE_TRIES_MAX = 20;
/** Where a state directory may be, folders below that of the run. */
const STATE_DEPTH_MAX = 6;
/** Every state directory has it once it holds a copy. */
const STATE_MARK = "instances";
/** Until what was killed is gone. */
const END_TRIES_MAX = 100;
const END_PAUSE_MS = 20;
const OURS = /^hft-(\d+)-/;

export async function setup(): Promise<() => Promise<void>> {
  for (const name of readdirSync(tmpdir())) {
    const pid = OURS.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) await removeRun(join(tmpdir(), name));
  }
  // Short: paths of Unix sockets are below it.
  const folder = mkdtempSync(join(tmpdir(), `hft-${process.pid}-`));
  chmodSync(folder, 0o755);
  process.env["TMPDIR"] = folder;
  return () => removeRun(folder);
}

async function removeRun(folder: string): Promise<void> {
  await endProgramsOf(folder);
  const states = statesBelow(folder, STATE_DEPTH_MAX);
  unmountBelow(folder);
  rmSync(folder, { recursive: true, force: true, maxRetries: REMOVE_TRIES_MAX });
  // Groups are known by a digest of the directory alone, so they can be named only as long as that is known.
  for (const state of states) pruneGroups("/proc", state);
}

/** Workloads outlive their agents, and the agents here are dead. */
async function endProgramsOf(folder: string): Promise<void> {
  for (let tries = 0; tries < END_TRIES_MAX; tries++) {
    const pids = programsOf(folder);
    if (pids.length === 0) return;
    for (const pid of pids) signal(pid, "SIGKILL");
    await sleep(END_PAUSE_MS);
  }
}

/** Whose command line names something in the folder, whose name nobody else has. */
function programsOf(folder: string): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(`${folder}/`);
    } catch {
      return false;
    }
  });
}

/** What a container engine that was killed left, deepest first; only root can have made any. */
function unmountBelow(folder: string): void {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((point) => point.startsWith(`${folder}/`));
  for (const point of points.reverse()) spawnSync("umount", ["-l", point]);
}

function statesBelow(folder: string, depth: number): readonly string[] {
  const folders = foldersIn(folder);
  const own = folders.includes(STATE_MARK) ? [folder] : [];
  if (depth === 0) return own;
  return [...own, ...folders.flatMap((name) => statesBelow(join(folder, name), depth - 1))];
}

function foldersIn(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}

function isRunning(pid: number): boolean {
  return signal(pid, 0) !== "ESRCH";
}

/** Gives the code of what went wrong. */
function signal(pid: number, name: NodeJS.Signals | 0): string | undefined {
  try {
    process.kill(pid, name);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
