/** Finds and signals the processes of one fleet, by what only its own have: its paths and its instances' marks. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startTimeOf } from "../../../scripts/fleet/processes.ts";

/** A process on this machine for ever. */
export type Alive = Readonly<{ pid: number; startTime: string }>;

export function alive(pid: number): Alive | undefined {
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

function pids(): readonly number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

/** Copies of one instance, by the marks that the driver leaves in their environment. */
export function workloadsOf(instanceId: string): readonly Alive[] {
  return found((pid) =>
    readFileSync(`/proc/${pid}/environ`, "utf8").includes(`HOLDFAST_INSTANCE=${instanceId}`),
  );
}

/** Whatever runs with this folder in its arguments. */
export function processesOf(folder: string): readonly Alive[] {
  return found((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder));
}

export function postmasterOf(hubData: string): Alive | undefined {
  try {
    const [first = ""] = readFileSync(join(hubData, "pgdata", "postmaster.pid"), "utf8").split(
      "\n",
    );
    return alive(Number(first));
  } catch {
    return undefined;
  }
}

/** The server with all its backends. */
export function databaseOf(hubData: string): readonly Alive[] {
  const postmaster = postmasterOf(hubData);
  if (postmaster === undefined) return [];
  return [postmaster, ...found((pid) => parentOf(pid) === postmaster.pid)];
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}

function found(matches: (pid: number) => boolean): readonly Alive[] {
  return pids().flatMap((pid) => {
    try {
      const process = matches(pid) ? alive(pid) : undefined;
      return process === undefined ? [] : [process];
    } catch {
      return [];
    }
  });
}

/** Only if it is still the same process. */
export function signal({ pid, startTime }: Alive, name: NodeJS.Signals): void {
  if (startTimeOf(pid) !== startTime) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
