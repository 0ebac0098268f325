/**
 * How far each log has been told, in a small file beside the store: replaced whole, not synced, since what it costs to
 * lose it is bounded. A log that it does not know is begun near its end.
 */
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import type { LogFile, LogPlace } from "../drivers/driver.ts";

/** `cuts`: how often the log was found cut in place. `isPlain`: its copy has no secrets. */
export type Cursor = LogPlace & Readonly<{ cuts: number; isPlain: boolean }>;

/** Of a log that was there before this agent looked for the first time. */
export const FIRST_BYTES_MAX = 1_048_576;
const FILE_BYTES_MAX = 4_194_304;
const VERSION = 1;

/** Positions only grow: a segment is never as large as this. */
const SEGMENT_SPAN = 2 ** 32;

export function positionOf({ segment, offset }: LogPlace): number {
  return segment * SEGMENT_SPAN + offset;
}

/** The place before a position, as `positionOf` gave it. */
export function placeOf(position: number): LogPlace {
  return { segment: Math.floor(position / SEGMENT_SPAN), offset: position % SEGMENT_SPAN };
}

export function firstCursor({ segment, bytes }: LogFile): Cursor {
  return { segment, offset: Math.max(0, bytes - FIRST_BYTES_MAX), cuts: 0, isPlain: false };
}

/** The same name for the same log, and another one for what was read after an unexplained cut. */
export function copyOf({ handle, identity }: LogFile, { cuts }: Pick<Cursor, "cuts">): string {
  return `${handle}~${identity}${cuts === 0 ? "" : `.${cuts}`}`;
}

/** By instance, handle and identity; empty if there is none or it cannot be read. */
export function readCursors(path: string): Map<string, Cursor> {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) return new Map();
    const found = JSON.parse(readFileSync(path, "utf8")) as { version?: unknown; logs?: object };
    if (found.version !== VERSION) return new Map();
    return new Map(Object.entries(found.logs ?? {}).filter(isEntry));
  } catch {
    return new Map();
  }
}

export function writeCursors(path: string, cursors: ReadonlyMap<string, Cursor>): void {
  const draft = `${path}.new`;
  const content = { version: VERSION, logs: Object.fromEntries(cursors) };
  writeFileSync(draft, JSON.stringify(content), { mode: 0o600 });
  renameSync(draft, path);
}

function isEntry(entry: [string, unknown]): entry is [string, Cursor] {
  const { segment, offset, cuts, isPlain } = (entry[1] ?? {}) as Record<string, unknown>;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && Number(value) >= 0;
  return [segment, offset, cuts].every(isCount) && typeof isPlain === "boolean";
}
