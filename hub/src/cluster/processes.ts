/** What /proc says of processes: whether one is alive, and still the one that was meant. Linux only. */
import { readdir, readFile, readlink, stat } from "node:fs/promises";

/** Ticks since boot at which the process began; undefined: no such process, or a zombie. */
export async function startOf(pid: number): Promise<string | undefined> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name, in brackets, may hold anything; the fields follow its last bracket.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Whether the number is taken, also by a zombie: then a signal to it still succeeds. */
export async function isTaken(pid: number): Promise<boolean> {
  return stat(`/proc/${pid}`).then(
    () => true,
    () => false,
  );
}

export async function isAlive(pid: number): Promise<boolean> {
  return (await startOf(pid)) !== undefined;
}

/** Processes whose working directory is `dir`: PostgreSQL's stay in their data directory. */
export async function workingIn(dir: string): Promise<readonly number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: number[] = [];
  for (const pid of pids) {
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    if (cwd === dir && (await isAlive(pid))) found.push(pid);
  }
  return found;
}

/** As process.kill. */
export type Kill = (pid: number, signal: NodeJS.Signals) => void;

/** A process that is gone already is no error. */
export function sendSignal(kill: Kill, pid: number, name: NodeJS.Signals): void {
  try {
    kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
