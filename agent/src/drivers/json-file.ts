/**
 * The small files that drivers keep beside a copy. Each is replaced whole; one that is torn, foreign or too large counts
 * as absent.
 */
import {
  closeSync,
  fsync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { JsonObject, JsonValue } from "./driver.ts";

const JSON_BYTES_MAX = 65_536;

const sync = promisify(fsync);

export function objectOf(value: JsonValue | undefined): JsonObject | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return value as JsonObject;
}

/** undefined for a file that is not there, too large or not a JSON object. */
export function readJson(path: string, bytesMax = JSON_BYTES_MAX): JsonObject | undefined {
  try {
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined || size > bytesMax) return undefined;
    return objectOf(JSON.parse(readFileSync(path, "utf8")) as JsonValue);
  } catch {
    return undefined;
  }
}

/**
 * Old or new, never half. `durable`: also after a loss of power. Throws what the file system says, such as
 * ENOENT for a directory that was removed meanwhile.
 */
export function replaceJson(path: string, value: unknown, how = { durable: false }): void {
  const draft = `${path}.new`;
  const file = openSync(draft, "w", 0o600);
  try {
    writeSync(file, JSON.stringify(value));
    if (how.durable) fsyncSync(file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  if (how.durable) syncDirectory(dirname(path));
}

/** What was made, renamed or removed in it stays so after a loss of power. */
export function syncDirectory(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** As replaceJson with `durable`, but others go on while the disk is waited for. */
export async function replaceJsonDurably(path: string, value: unknown): Promise<void> {
  const draft = `${path}.new`;
  const file = openSync(draft, "w", 0o600);
  try {
    writeSync(file, JSON.stringify(value));
    await sync(file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const folder = openSync(dirname(path), "r");
  try {
    await sync(folder);
  } finally {
    closeSync(folder);
  }
}
