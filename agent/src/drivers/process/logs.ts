/**
 * The output of copies: one file per start below logs/, opened for appending by us and handed over, so that it
 * goes on when the agent is gone. Bounded: old files go at each start, and a file that has grown too large is
 * cut to its end when the copy is measured.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { escapeControls } from "@holdfast/shared/text.ts";

/** Of one resource: the running copy, its predecessor, and a few that crashed. */
export const LOG_FILES_MAX = 8;
/** Of one copy; 64 MiB. */
export const LOG_BYTES_MAX = 67_108_864;
/** What stays of a log that was cut; 4 MiB. */
const LOG_KEPT_BYTES = 4_194_304;
const TAIL_BYTES_MAX = 262_144;
const LAST_LINE_BYTES = 4_096;
const LAST_LINE_CHARS_MAX = 200;
/** Shorter secrets would hide half of the output. */
const SECRET_CHARS_MIN = 4;

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
  pruneLogs(logs, resourceId, new Set(kept.map((each) => logPath(logs, each))));
  const file = openSync(logPath(logs, handle), "a", 0o600);
  return { file, close: () => closeSync(file) };
}

function pruneLogs(logs: string, resourceId: string, kept: ReadonlySet<string>): void {
  const own = new RegExp(`^${resourceId}-\\d+\\.\\d+-[0-9a-z]*-\\d+r\\d+\\.log$`);
  const files = readdirSync(logs)
    .filter((name) => own.test(name))
    .map((name) => ({ path: join(logs, name), writtenAt: writtenAt(join(logs, name)) }))
    .sort((a, b) => b.writtenAt - a.writtenAt)
    .filter(({ path }, index) => index >= LOG_FILES_MAX - 1 && !kept.has(path));
  for (const { path } of files) rmSync(path, { force: true });
}

function writtenAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Cuts a log that is too large; the workload appends to what remains. */
export function cutLog(path: string): void {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) <= LOG_BYTES_MAX) return;
  const end = tailOf(path, LOG_KEPT_BYTES);
  const file = openSync(path, "a");
  try {
    ftruncateSync(file, 0);
    writeSync(file, end);
  } finally {
    closeSync(file);
  }
}

/** The last `lines` lines, oldest first, without the copy's secrets. Empty if there is no log. */
export function lastLines(path: string, runDir: string, lines: number): readonly string[] {
  const secrets = secretsIn(runDir);
  return linesOf(tailOf(path, TAIL_BYTES_MAX))
    .slice(-lines)
    .map((line) => redact(line, secrets));
}

/** For a message: the last line with anything on it, cut. */
export function lastLine(path: string, runDir: string): string | undefined {
  const line = linesOf(tailOf(path, LAST_LINE_BYTES)).findLast((each) => each.trim() !== "");
  if (line === undefined) return undefined;
  return redact(line, secretsIn(runDir)).slice(0, LAST_LINE_CHARS_MAX);
}

function linesOf(text: Buffer): readonly string[] {
  const lines = text.toString("utf8").split("\n");
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}

function tailOf(path: string, bytesMax: number): Buffer {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, bytesMax));
    const length = readSync(file, buffer, 0, buffer.length, size - buffer.length);
    return buffer.subarray(0, length);
  } catch {
    return Buffer.alloc(0);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function secretsIn(runDir: string): readonly string[] {
  const folder = join(runDir, "secrets");
  try {
    return readdirSync(folder)
      .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
      .map((line) => line.trim())
      .filter((secret) => secret.length >= SECRET_CHARS_MIN);
  } catch {
    return [];
  }
}

function redact(line: string, secrets: readonly string[]): string {
  const clean = secrets.reduce((text, secret) => text.replaceAll(secret, "[redacted]"), line);
  return escapeControls(clean);
}
