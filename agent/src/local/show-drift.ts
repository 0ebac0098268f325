/** What others changed of an instance, as people read it on the host: desired, last applied and live side by side. Pure. */
import type { JsonValue } from "@bufbuild/protobuf";
import { cut } from "@holdfast/shared/text.ts";
import type { DriftJson } from "./report.ts";

/** Of one value. */
const VALUE_CHARS_MAX = 60;
/** All of them are in the JSON. */
const LINES_MAX = 8;

export function driftLines({
  differences = [],
  leftOut = 0,
  note = "",
}: DriftJson): readonly string[] {
  if (differences.length === 0) return [];
  const lines = differences
    .slice(0, LINES_MAX)
    .map(({ resource, path, desired, applied, live, adopted }) => {
      const wish = desired === undefined ? "not known yet" : textOf(desired);
      const values = `desired ${wish}, applied ${textOf(applied)}, live ${textOf(live)}`;
      return `${resource} ${path}: ${values}${adopted === true ? " (accepted)" : ""}`;
    });
  const more = differences.length - lines.length + leftOut;
  if (more > 0) lines.push(`and ${more} more`);
  if (note !== "") lines.push(note);
  return lines.map((line, n) => `${n === 0 ? "drift     " : "          "}${line}`);
}

function textOf(value: JsonValue | undefined): string {
  return cut(JSON.stringify(value ?? null), VALUE_CHARS_MAX);
}
