/**
 * Foreign output as it may stand before a person: the end of it, line by line, without the copy's secrets, escaped,
 * and every line bounded. Binary, ANSI and OSC sequences come out as text.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { redacted, secretWords } from "@holdfast/shared/redaction.ts";
import { escapeControls } from "@holdfast/shared/text.ts";

/** Of one line; more is cut, with a mark. */
export const LINE_CHARS_MAX = 2_000;
/** For a message: so many lines, so long each. */
export const MESSAGE_LINES_MAX = 3;
export const MESSAGE_LINE_CHARS_MAX = 200;
const MESSAGE_BYTES = 16_384;
const SECRET_FILES_BYTES_MAX = 1_048_576;
const CUT = "… [cut]";

/** Never throws: a log that is not there is empty. */
export function tailOf(path: string, bytesMax: number): Buffer<ArrayBuffer> {
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

/** `isCut`: the text begins in the middle of a line, which is left out unless it is the only one. */
export function linesOf(text: Buffer, runDir: string, isCut: boolean): readonly string[] {
  const redact = redactor(runDir);
  const all = text.toString("utf8").split("\n");
  const lines = all.at(-1) === "" ? all.slice(0, -1) : all;
  const whole = isCut && lines.length > 1 ? lines.slice(1) : lines;
  return whole.map((line) => bounded(redact(line), LINE_CHARS_MAX));
}

/** The last lines with anything on them, for one line of a message; empty if there are none. */
export function messageOf(path: string, runDir: string): string {
  const text = tailOf(path, MESSAGE_BYTES);
  return messageIn(linesOf(text, runDir, text.length === MESSAGE_BYTES));
}

/** The same of lines that are at hand. */
export function messageIn(lines: readonly string[]): string {
  return lines
    .filter((line) => line.trim() !== "")
    .slice(-MESSAGE_LINES_MAX)
    .map((line) => bounded(line.trim(), MESSAGE_LINE_CHARS_MAX))
    .join(" | ");
}

/** Takes secrets out of a line and escapes the rest. */
export function redactor(runDir: string): (line: string) => string {
  const secrets = secretsIn(runDir);
  return (line) => {
    return escapeControls(redacted(line, secrets));
  };
}

function bounded(line: string, charsMax: number): string {
  return line.length > charsMax ? `${line.slice(0, charsMax)}${CUT}` : line;
}

function secretsIn(runDir: string): readonly string[] {
  return knownSecretsIn(runDir) ?? [];
}

/** Undefined once the directory is gone. */
export function knownSecretsIn(runDir: string): readonly string[] | undefined {
  const folder = join(runDir, "secrets");
  try {
    return secretWords(
      readdirSync(folder).map((name) =>
        tailOf(join(folder, name), SECRET_FILES_BYTES_MAX).toString(),
      ),
    );
  } catch {
    return undefined;
  }
}
