/**
 * The agent's directory: that it is private and ours, and that only one agent works in it. The lock names its
 * holder by pid and start time, so that a pid that came back is not taken for the holder.
 */
import {
  accessSync,
  constants,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";

export type Holder = Readonly<{ pid: number; startTime: string }>;

export type StateHost = Readonly<{
  pid: number;
  uid: number;
  /** Start time of a process as the kernel counts it; undefined if there is none with this pid. */
  startTimeOf(pid: number): string | undefined;
}>;

export type Lock = Readonly<{ release(): void }>;

/** statfs type of tmpfs: what is there is gone after a restart of the host. */
const TMPFS = 0x0102_1994;
const LOCK_TRIES_MAX = 5;

export const LOCK_FILE = "agent.lock";
export const STORE_FILE = "agent.db";
export const SOCKET_FILE = "local.sock";

/**
 * Creates it if it is missing. Throws FAILED_PRECONDITION `STATE_DIR_UNUSABLE` with owner and mode. What is on
 * tmpfs works, but is said by the return value: a warning, or undefined.
 */
export function checkStateDirectory(stateDir: string, uid: number): string | undefined {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const found = statSync(stateDir);
  const mode = (found.mode & 0o777).toString(8).padStart(4, "0");
  if (found.uid !== uid || (found.mode & 0o022) !== 0) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "STATE_DIR_UNUSABLE",
      `${stateDir}: owner ${found.uid}, mode ${mode}; needed: owner ${uid}, not writable by others`,
      { next: `chmod 700 ${stateDir}` },
    );
  }
  return statfsSync(stateDir).type === TMPFS
    ? `${stateDir} is on tmpfs: identity and usage are lost when the host restarts`
    : undefined;
}

/** Whether the disk with this file or directory takes no writes at all; asked of the system, nothing is tried. */
export function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return codeOf(error) === "EROFS";
  }
}

export function readOnlyDisk(path: string, cause?: unknown): Fault {
  const message = `${path}: its disk is read-only; workloads go on, nothing can change`;
  return new Fault("FAILED_PRECONDITION", "STORE_READ_ONLY", message, {
    cause,
    next: `findmnt -T ${dirname(path)}`,
  });
}

/** Throws FAILED_PRECONDITION `STATE_DIR_LOCKED` that names the process that has it, or `STORE_READ_ONLY`. */
export function takeLock(stateDir: string, host: StateHost): Lock {
  const path = join(stateDir, LOCK_FILE);
  const mine = `${path}.${host.pid}`;
  const self: Holder = { pid: host.pid, startTime: host.startTimeOf(host.pid) ?? "" };
  try {
    writeFileSync(mine, `${JSON.stringify(self)}\n`, { mode: 0o600 });
  } catch (error) {
    throw codeOf(error) === "EROFS" ? readOnlyDisk(path, error) : error;
  }
  try {
    for (let tries = 0; tries < LOCK_TRIES_MAX; tries++) {
      if (linked(mine, path)) return { release: () => releaseLock(path, self) };
      const holder = findHolder(stateDir, host);
      if (holder !== undefined) throw locked(stateDir, holder);
      // Whoever held it is gone. Of several who see that, the rename lets one go on at a time.
      const stale = `${path}.stale.${host.pid}`;
      if (renamed(path, stale)) rmSync(stale, { force: true });
    }
  } finally {
    rmSync(mine, { force: true });
  }
  throw locked(stateDir, { pid: 0, startTime: "" });
}

/** The agent that works in this directory now; undefined if none does. */
export function findHolder(
  stateDir: string,
  host: Pick<StateHost, "startTimeOf">,
): Holder | undefined {
  const holder = readHolder(join(stateDir, LOCK_FILE));
  if (holder === undefined) return undefined;
  return host.startTimeOf(holder.pid) === holder.startTime ? holder : undefined;
}

function readHolder(path: string): Holder | undefined {
  try {
    const parsed = JSON.parse(readFileSync(path, "utf8")) as Partial<Holder>;
    const { pid, startTime } = parsed;
    return typeof pid === "number" && typeof startTime === "string"
      ? { pid, startTime }
      : undefined;
  } catch {
    return undefined;
  }
}

/** On a disk that takes no writes any more it stays; whoever comes next sees that its holder is gone. */
function releaseLock(path: string, self: Holder): void {
  const holder = readHolder(path);
  if (holder?.pid === self.pid && holder.startTime === self.startTime && !isReadOnly(path))
    rmSync(path, { force: true });
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function locked(stateDir: string, { pid }: Holder): Fault {
  return new Fault(
    "FAILED_PRECONDITION",
    "STATE_DIR_LOCKED",
    `${stateDir}: an agent works here already, pid ${pid}`,
    { next: `holdfast-agent status --state ${stateDir}` },
  );
}
