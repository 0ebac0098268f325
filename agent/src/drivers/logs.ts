/**
 * The output of copies: one file per start below logs/, opened for appending by us and handed over, so that it goes
 * on when the agent is gone and a program never waits for a reader. A log that is full is moved to numbered parts;
 * what has to go goes oldest first and is counted. What is written in the very moment of a cut can be lost.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { DriverContext } from "./driver.ts";
import { isOfResource } from "./handles.ts";
import { readJson, replaceJson } from "./json-file.ts";
import { isHandle } from "./names.ts";
import { linesOf, tailOf } from "./output.ts";
import { LOG_CUT_BYTES, LOG_PART_BYTES, type LogFile, planRetention } from "./retention.ts";

/** Of one resource: the running copy, its predecessor, and a few that crashed. */
export const LOG_FILES_MAX = 8;
const TAIL_BYTES_MAX = 262_144;

const LOG_NAME = /^(?<handle>.+)\.log(?:\.(?<part>[1-9]\d{0,8}))?$/;
const DROPPED_FILE = "dropped.json";

export type LogFolders = Readonly<{ logs: string; run: string }>;
/** Of one instance since its logs began. `isPressed`: the disk was nearly full at the last look. */
export type Dropped = Readonly<{ bytes: number; files: number; isPressed: boolean }>;

export function logPath(logs: string, handle: string): string {
  return join(logs, `${handle}.log`);
}

/** `kept`: copies whose logs are in use, however old. */
export function openLog(
  logs: string,
  resourceId: string,
  { handle, kept }: Readonly<{ handle: string; kept: readonly string[] }>,
) {
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  pruneLogs(logs, resourceId, new Set(kept));
  const file = openSync(logPath(logs, handle), "a", 0o600);
  return { file, close: () => closeSync(file) };
}

function pruneLogs(logs: string, resourceId: string, kept: ReadonlySet<string>): void {
  const files = filesIn({ logs, run: "" }).filter(({ handle }) => isOfResource(handle, resourceId));
  const newest = new Map<string, number>();
  for (const { handle, writtenAt } of files) {
    newest.set(handle, Math.max(writtenAt, newest.get(handle) ?? 0));
  }
  const old = [...newest]
    .sort(([, a], [, b]) => b - a)
    .filter(([handle], index) => index >= LOG_FILES_MAX - 1 && !kept.has(handle));
  const gone = new Set(old.map(([handle]) => handle));
  for (const { path, handle } of files) if (gone.has(handle)) rmSync(path, { force: true });
}

/** All logs and parts of an instance; a log is in use while its copy has a run directory. */
function filesIn({ logs, run }: LogFolders): readonly LogFile[] {
  if (!existsSync(logs)) return [];
  return readdirSync(logs).flatMap((name): LogFile[] => {
    const { handle = "", part } = LOG_NAME.exec(name)?.groups ?? {};
    const path = join(logs, name);
    const stat = isHandle(handle) ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (stat === undefined) return [];
    const isPart = part !== undefined;
    const isInUse = !isPart && existsSync(join(run, handle));
    return [{ path, handle, bytes: stat.size, writtenAt: stat.mtimeMs, isInUse, isPart }];
  });
}

/** Moves a full log of this copy to a part, and keeps the instance's logs within their bounds. Never throws. */
export function tendLogs(folders: LogFolders, handle: string, { log }: DriverContext): void {
  try {
    const path = logPath(folders.logs, handle);
    const isFull = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_PART_BYTES;
    if (isFull) count(folders.logs, moveToPart(path), 0);
    const { bavail, bsize, blocks } = statfsSync(folders.logs);
    const disk = { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    const { remove, cut, isPressed } = planRetention(filesIn(folders), disk);
    for (const file of remove) rmSync(file.path, { force: true });
    const cutBytes = cut.map((file) => cutLog(file.path, LOG_CUT_BYTES));
    const bytes = [...remove.map((file) => file.bytes), ...cutBytes].reduce((a, b) => a + b, 0);
    const before = droppedIn(folders.logs);
    if (bytes > 0) log.warn({ copy: handle, bytes, isPressed }, "old output was dropped");
    if (bytes > 0 || before.isPressed !== isPressed) {
      count(folders.logs, bytes, remove.length, isPressed);
    }
  } catch (error) {
    log.warn({ copy: handle, error: causeChain(error) }, "could not look after its output");
  }
}

/** The next part, of which only the end is kept where more came between two looks. Bytes that are lost. */
function moveToPart(path: string): number {
  const { size } = statSync(path);
  const end = tailOf(path, LOG_PART_BYTES);
  const lost = size - end.length;
  try {
    writeFileSync(`${path}.${nextPart(path)}`, end, { mode: 0o600 });
  } catch {
    // A full disk must not keep the log from being emptied, which is what it needs.
    return cutLog(path, LOG_CUT_BYTES);
  }
  replaceContent(path, lost, Buffer.alloc(0));
  return lost;
}

function nextPart(path: string): number {
  const name = `${basename(path)}.`;
  const numbers = readdirSync(join(path, ".."))
    .filter((each) => each.startsWith(name))
    .map((each) => Number(each.slice(name.length)))
    .filter(Number.isSafeInteger);
  return Math.max(0, ...numbers) + 1;
}

/** Leaves the end of a log. Bytes that are lost. */
function cutLog(path: string, keptBytes: number): number {
  const { size } = statSync(path);
  const end = tailOf(path, keptBytes);
  const lost = size - end.length;
  replaceContent(path, lost, end);
  return lost;
}

/** In place, since the workload appends to this very file; the first line says what is missing. */
function replaceContent(path: string, lost: number, content: Buffer): void {
  const file = openSync(path, "a");
  try {
    ftruncateSync(file, 0);
    if (lost > 0) writeSync(file, `[holdfast: ${lost} bytes of output dropped here]\n`);
    writeSync(file, content);
  } finally {
    closeSync(file);
  }
}

function count(logs: string, bytes: number, files: number, isPressed?: boolean): void {
  const before = droppedIn(logs);
  replaceJson(join(logs, DROPPED_FILE), {
    bytes: before.bytes + bytes,
    files: before.files + files,
    isPressed: isPressed ?? before.isPressed,
  });
}

export function droppedIn(logs: string): Dropped {
  const { bytes, files, isPressed } = readJson(join(logs, DROPPED_FILE)) ?? {};
  const number = (value: unknown) => (typeof value === "number" ? value : 0);
  return { bytes: number(bytes), files: number(files), isPressed: isPressed === true };
}

/** The last lines of a copy's output, oldest first, with the end of its newest part where the log is short. */
export function lastLines(path: string, runDir: string, lines: number): readonly string[] {
  const current = tailOf(path, TAIL_BYTES_MAX);
  const part = nextPart(path) - 1;
  const isShort = current.length < TAIL_BYTES_MAX && part > 0;
  const earlier = isShort
    ? tailOf(`${path}.${part}`, TAIL_BYTES_MAX - current.length)
    : Buffer.alloc(0);
  const isCut = current.length + earlier.length >= TAIL_BYTES_MAX;
  return linesOf(Buffer.concat([earlier, current]), runDir, isCut).slice(-lines);
}
