/**
 * Starts and ends the fleet's programs. Each runs in a session of its own, so that Ctrl-C reaches only the
 * one that ends them in order; each is known by pid and start time, so that nobody else's is ever signalled.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export type ProcessRecord = Readonly<{ pid: number; startTime: string }>;

export type Program = Readonly<{
  name: string;
  command: string;
  args: readonly string[];
  cwd: string;
  log: string;
  env: Readonly<Record<string, string | undefined>>;
}>;

const POLL_MS = 20;

/** The recorded process if it still runs. */
export function running(folder: string, name: string): ProcessRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as ProcessRecord;
    return startTimeOf(record.pid) === record.startTime ? record : undefined;
  } catch {
    return undefined;
  }
}

export function launch(folder: string, program: Program): ProcessRecord {
  mkdirSync(dirname(program.log), { recursive: true });
  mkdirSync(folder, { recursive: true });
  const log = openSync(program.log, "a", 0o600);
  const child = spawn(program.command, program.args, {
    cwd: program.cwd,
    env: program.env,
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.on("error", () => undefined);
  child.unref();
  if (child.pid === undefined) throw new Error(`could not start ${program.command}`);
  return record(folder, program.name, child.pid);
}

function record(folder: string, name: string, pid: number): ProcessRecord {
  const startTime = startTimeOf(pid);
  if (startTime === undefined) throw new Error(`${name} ended at once (pid ${pid})`);
  const file = join(folder, `${name}.json`);
  writeFileSync(`${file}.new`, JSON.stringify({ pid, startTime }));
  renameSync(`${file}.new`, file);
  return { pid, startTime };
}

/** Signals and waits; after `msMax` kills. True if it ended by itself. */
export async function end(
  folder: string,
  name: string,
  signal: NodeJS.Signals,
  msMax: number,
): Promise<boolean> {
  const known = running(folder, name);
  if (known === undefined) return true;
  signalProcess(known, signal);
  const ended = await goneWithin(known, msMax);
  if (!ended) {
    signalProcess(known, "SIGKILL");
    await goneWithin(known, msMax);
  }
  rmSync(join(folder, `${name}.json`), { force: true });
  return ended;
}

function signalProcess(known: ProcessRecord, signal: NodeJS.Signals): void {
  if (startTimeOf(known.pid) !== known.startTime) return;
  try {
    process.kill(known.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function goneWithin(known: ProcessRecord, msMax: number): Promise<boolean> {
  for (const until = performance.now() + msMax; performance.now() < until; ) {
    if (startTimeOf(known.pid) !== known.startTime) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Field 22 of /proc/PID/stat; undefined for one that is gone or only waits to be reaped. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
