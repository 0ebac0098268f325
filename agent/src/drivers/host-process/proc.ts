/**
 * Reads what the kernel says about processes. Everything may vanish or be unreadable between two lines of
 * this file: such an entry is skipped, never an error. Reads are synchronous: /proc answers from memory.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { basename, join } from "node:path";
import { shown } from "@holdfast/shared/text.ts";

/** Clock ticks in a second as /proc shows them: USER_HZ, 100 on every Linux of x64 and arm64. */
export const TICKS_PER_SECOND = 100;

export type ProcessEntry = Readonly<{
  pid: number;
  parent: number;
  group: number;
  session: number;
  /**
   * Zombies have ended; nobody has asked for their status yet. Not so one that still has a thread: its first thread has
   * left, and the kernel shows that one's state for the process, but the rest runs on.
   */
  ended: boolean;
  /** Start in clock ticks after boot: with pid and boot id the identity of a process. */
  startTicks: number;
  /** User and system time in ticks: its own, and that of children that it waited for. */
  ownTicks: number;
  childTicks: number;
}>;

/** The environment that a process was started with, as far as it begins with HOLDFAST_. */
export type Marks = ReadonlyMap<string, string>;

/** The marks come first in the environment that we give; the rest is not read. */
const ENVIRONMENT_BYTES_MAX = 16_384;
/** Small enough to come from Node's pool: a look reads hundreds of environments. */
const ENVIRONMENT_PART_BYTES = 4_000;
const MARKS_PREFIX = "HOLDFAST_";
/** Linux's own default. */
const EPHEMERAL_PORT_MIN = 32_768;
/** Lets other work of the agent go on while thousands of processes are read. */
const ENTRIES_PER_SLICE = 250;

export function bootId(procDir: string): string {
  return readFileSync(join(procDir, "sys/kernel/random/boot_id"), "latin1").trim();
}

/** Milliseconds since boot; never jumps. */
export function uptimeMs(procDir: string): number {
  return Math.round(Number.parseFloat(readFileSync(join(procDir, "uptime"), "latin1")) * 1000);
}

export function ticksToMs(ticks: number): number {
  return ticks * (1000 / TICKS_PER_SECOND);
}

/** All processes, parents before the children that they started later. */
export async function readProcesses(procDir: string): Promise<readonly ProcessEntry[]> {
  const entries: ProcessEntry[] = [];
  const pids = readdirSync(procDir).filter((name) => /^[1-9][0-9]*$/.test(name));
  for (const [index, name] of pids.entries()) {
    if (index % ENTRIES_PER_SLICE === ENTRIES_PER_SLICE - 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const entry = readProcess(procDir, Number(name));
    if (entry !== undefined) entries.push(entry);
  }
  return entries.sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid);
}

/** One process; undefined if there is none or it cannot be read. */
export function readProcess(procDir: string, pid: number): ProcessEntry | undefined {
  const text = readText(join(procDir, String(pid), "stat"));
  // The command in the second field may hold blanks and brackets; the last bracket ends it.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields === undefined || fields.length < 20) return undefined;
  const number = (index: number) => Number(fields[index]);
  const entry = {
    pid,
    parent: number(1),
    group: number(2),
    session: number(3),
    ended: fields[0] === "X" || fields[0] === "x" || (fields[0] === "Z" && number(17) <= 1),
    startTicks: number(19),
    ownTicks: number(11) + number(12),
    childTicks: number(13) + number(14),
  };
  const isWhole = Number.isSafeInteger(entry.startTicks + entry.ownTicks + entry.childTicks);
  return isWhole ? entry : undefined;
}

/** Our marks in a process's environment; undefined if it has none or belongs to somebody else. */
export function readMarks(procDir: string, pid: number): Marks | undefined {
  let file: number | undefined;
  try {
    file = openSync(join(procDir, String(pid), "environ"), "r");
    const parts: Buffer[] = [];
    for (let length = 0; length < ENVIRONMENT_BYTES_MAX; ) {
      const part = Buffer.allocUnsafe(ENVIRONMENT_PART_BYTES);
      const got = readSync(file, part, 0, part.length, null);
      if (got === 0) break;
      parts.push(part.subarray(0, got));
      length += got;
    }
    return marksIn(Buffer.concat(parts));
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function marksIn(environment: Buffer): Marks | undefined {
  // Nearly all processes of a host are somebody else's.
  if (!environment.includes(MARKS_PREFIX)) return undefined;
  const marks = new Map<string, string>();
  for (const pair of environment.toString("utf8").split("\0")) {
    const at = pair.indexOf("=");
    if (pair.startsWith(MARKS_PREFIX) && at > 0) marks.set(pair.slice(0, at), pair.slice(at + 1));
  }
  return marks.size === 0 ? undefined : marks;
}

/** Resident memory in KiB; 0 if it has ended. */
export function residentKib(procDir: string, pid: number): number {
  const line = readText(join(procDir, String(pid), "status"))?.match(/^VmRSS:\s+(\d+) kB$/m);
  return Number(line?.[1] ?? 0);
}

/**
 * The process's share of memory in KiB, where pages that several have count in parts; undefined where the kernel
 * does not say. Slower than the resident memory by far.
 */
export function sharedOutKib(procDir: string, pid: number): number | undefined {
  const line = readText(join(procDir, String(pid), "smaps_rollup"))?.match(/^Pss:\s+(\d+) kB$/m);
  return line?.[1] === undefined ? undefined : Number(line[1]);
}

/** Whether the process has a handler of its own for this signal, or ignores it. */
export function handlesSignal(procDir: string, pid: number, number: number): boolean {
  const status = readText(join(procDir, String(pid), "status")) ?? "";
  const bit = 1n << BigInt(number - 1);
  return ["SigCgt", "SigIgn"].some((field) => {
    const mask = status.match(new RegExp(`^${field}:\\s+([0-9a-f]+)$`, "m"))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & bit) !== 0n;
  });
}

/**
 * For people: `pid 4711 (node)`, with the file that runs and the name that the process has, where they differ. Not its
 * arguments, which may hold what nobody else is to see.
 */
export function describeProcess(procDir: string, pid: number): string {
  const file = linkOf(join(procDir, String(pid), "exe"))?.replace(/ \(deleted\)$/, "");
  const name = readText(join(procDir, String(pid), "comm"))?.trim();
  // Node names its first thread so, whatever it runs.
  const known = [file && basename(file), name === "MainThread" ? undefined : name];
  const words = [...new Set(known.filter((word) => word !== undefined && word !== ""))];
  return words.length === 0 ? `pid ${pid}` : `pid ${pid} (${words.map(shown).join(", ")})`;
}

/** First port that the kernel gives to connections and to binds without a port. */
export function ephemeralPortMin(procDir: string): number {
  const range = readText(join(procDir, "sys/net/ipv4/ip_local_port_range"));
  return Number(range?.trim().split(/\s+/)[0] ?? 0) || EPHEMERAL_PORT_MIN;
}

/** Who listens on a TCP port of this host; undefined if nobody does or it cannot be seen from here. */
export async function listenerOf(procDir: string, port: number): Promise<number | undefined> {
  const inodes = inodesListening(procDir, port);
  if (inodes.size === 0) return undefined;
  for (const { pid } of await readProcesses(procDir)) {
    if (openSockets(procDir, pid).some((inode) => inodes.has(inode))) return pid;
  }
  return undefined;
}

/** Whether this process has a socket that listens on the port. */
export function listensOn(procDir: string, pid: number, port: number): boolean {
  const inodes = inodesListening(procDir, port);
  return openSockets(procDir, pid).some((inode) => inodes.has(inode));
}

function inodesListening(procDir: string, port: number): ReadonlySet<string> {
  return new Set(["tcp", "tcp6"].flatMap((table) => inodesIn(procDir, table, port)));
}

function inodesIn(procDir: string, table: string, port: number): readonly string[] {
  const rows =
    readText(join(procDir, "net", table))
      ?.split("\n")
      .slice(1) ?? [];
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return rows.flatMap((row) => {
    const fields = row.trim().split(/\s+/);
    const isListening = fields[3] === "0A" && fields[1]?.endsWith(`:${hex}`) === true;
    return isListening && fields[9] !== undefined ? [fields[9]] : [];
  });
}

function openSockets(procDir: string, pid: number): readonly string[] {
  const folder = join(procDir, String(pid), "fd");
  try {
    return readdirSync(folder).flatMap((name) => {
      const inode = linkOf(join(folder, name))?.match(/^socket:\[(\d+)\]$/)?.[1];
      return inode === undefined ? [] : [inode];
    });
  } catch {
    return [];
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}
