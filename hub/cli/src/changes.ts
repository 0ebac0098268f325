/** What differs between two states of an object, leaf by leaf, with the path of each. */
import type { JsonValue } from "@bufbuild/protobuf";
import { shown } from "@holdfast/shared/text.ts";
import { at, plainWord } from "./format.ts";
import type { ObjectView } from "./object-calls.ts";

/** An absent value is undefined. A hidden one differs but is not shown. */
export type Change = Readonly<{
  path: string;
  before: JsonValue | undefined;
  after: JsonValue | undefined;
  isHidden?: boolean;
}>;

/** What people write; the hub sets the rest. */
const PLACES = ["spec", "metadata.labels", "metadata.annotations"];

export function changesOf(
  before: ObjectView,
  after: ObjectView,
  places: readonly string[] = PLACES,
): readonly Change[] {
  return places.flatMap((place) => differences(at(before, place), at(after, place), place));
}

/** `spec.release: 1.0.0 -> 1.1.0`. */
export function changeText({ path, before, after, isHidden = false }: Change): string {
  const said = (value: JsonValue | undefined) => {
    if (value === undefined) return "nothing";
    return shown(typeof value === "string" ? plainWord(value) : value);
  };
  if (isHidden) return `${shown(path)}: differs (hidden)`;
  return `${shown(path)}: ${said(before)} -> ${said(after)}`;
}

function differences(
  a: JsonValue | undefined,
  b: JsonValue | undefined,
  path: string,
): readonly Change[] {
  // A map that comes or goes is told by what is in it.
  const isMaps = [a, b].every((each) => each === undefined || isMap(each));
  if (isMaps && (isMap(a) || isMap(b))) {
    const [left, right] = [a ?? {}, b ?? {}] as [ObjectView, ObjectView];
    const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
    return keys.flatMap((key) => differences(left[key], right[key], `${path}.${key}`));
  }
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [{ path, before: a, after: b }];
}

function isMap(value: JsonValue | undefined): value is ObjectView {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
