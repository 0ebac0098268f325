/** Values as people read them: ages, short ids, places in an object. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { escapeControls } from "@holdfast/shared/text.ts";
import type { ObjectView } from "./object-calls.ts";

/** The value at `a.b.c`; undefined where something on the way is missing. */
export function at(view: JsonValue | undefined, path: string): JsonValue | undefined {
  let value = view;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    value = Object.hasOwn(value, name) ? (value as JsonObject)[name] : undefined;
  }
  return value;
}

/** One line of text at a place; `-` where there is nothing. Control characters are escaped. */
export function textAt(view: JsonValue | undefined, path: string): string {
  const value = at(view, path);
  if (value === undefined || value === null || value === "") return "-";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return escapeControls(text);
}

export function listAt(view: JsonValue | undefined, path: string): readonly JsonObject[] {
  const value = at(view, path);
  return Array.isArray(value) ? (value as readonly JsonObject[]) : [];
}

export function nameOf(view: ObjectView): string {
  return textAt(view, "metadata.name");
}

/** `TENANCY_MODEL_POOLED` as `pooled`. */
export function enumWord(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length).toLowerCase() : text;
}

const ENUM_PREFIXES = ["CELL_KIND_", "DRIFT_POLICY_", "ROLE_", "RUN_STATE_", "TENANCY_MODEL_"];

/** The word of any enumeration that a spec may hold; other text as it is. */
export function plainWord(text: string): string {
  const prefix = ENUM_PREFIXES.find((each) => text.startsWith(each));
  return prefix === undefined ? text : enumWord(text, prefix);
}

/** `1.3` for people; `-` for none. */
export function generationText(value: JsonValue | undefined): string {
  if (value === undefined) return "-";
  return `${at(value, "incarnation") ?? 0}.${at(value, "number") ?? 0}`;
}

const AGES = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
] as const;

/** How long ago, with one unit: `12s`, `5m`, `3h`, `2d`. `-` for no or an unreadable time. */
export function ageOf(time: JsonValue | undefined, nowMs: number): string {
  const then = typeof time === "string" ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(then)) return "-";
  const ms = Math.max(0, nowMs - then);
  const [size, unit] = AGES.find(([each]) => ms >= 2 * each) ?? [1_000, "s"];
  return `${Math.floor(ms / size)}${unit}`;
}

export function agoText(time: JsonValue | undefined, nowMs: number): string {
  const age = ageOf(time, nowMs);
  return age === "-" ? "-" : `${age} ago`;
}

/** `12 ms`, `3.4 s`. */
export function durationText(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

export function bytesText(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`;
  return bytes < 1_048_576
    ? `${(bytes / 1_024).toFixed(1)} KiB`
    : `${(bytes / 1_048_576).toFixed(1)} MiB`;
}
