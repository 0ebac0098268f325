/** What others changed of an instance, as rows: desired, last applied and live side by side. Pure. */
import type { JsonValue } from "@bufbuild/protobuf";
import { cut } from "@holdfast/shared/text.ts";
import { at, listAt, textAt } from "./format.ts";
import type { ObjectView } from "./object-calls.ts";
import type { Cell } from "./table.ts";

/** Of one value; all of it is in -o json. */
const VALUE_CHARS_MAX = 60;

export const DRIFT_HEADER = ["RESOURCE", "FIELD", "DESIRED", "APPLIED", "LIVE", ""];

export function driftRows(view: ObjectView): readonly (readonly Cell[])[] {
  return listAt(view, "status.drift.differences").map((each) => [
    textAt(each, "resource"),
    textAt(each, "path"),
    valueText(at(each, "desired")),
    valueText(at(each, "applied")),
    { text: valueText(at(each, "live")), tone: at(each, "adopted") === true ? "plain" : "bad" },
    at(each, "adopted") === true ? "accepted" : "",
  ]);
}

/** How many are not shown, and what is done about it. */
export function driftNotes(view: ObjectView): readonly string[] {
  const left = Number(at(view, "status.drift.leftOut") ?? 0);
  const note = textAt(view, "status.drift.note");
  return [...(left > 0 ? [`and ${left} more`] : []), ...(note === "-" ? [] : [note])];
}

function valueText(value: JsonValue | undefined): string {
  if (value === undefined) return "-";
  return cut(typeof value === "string" ? value : JSON.stringify(value), VALUE_CHARS_MAX);
}
