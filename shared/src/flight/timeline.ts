/** A replayed flight for people: one line for each step, and how it ended. Pure. */
import { escapeControls } from "../text.ts";
import type { Json } from "./redact.ts";
import { type AnyMachine, type Outcome, replay, timeOf } from "./replay.ts";

/** All of a digest says no more to people than its beginning. */
const DIGEST = /^(sha256:[0-9a-f]{12})[0-9a-f]{52}$/;
/** Differences found, as all programs of Holdfast have it. */
const DIFFERENT = 10;

export type ReplayOptions = Readonly<{
  fileName: string;
  text: string;
  machines: readonly AnyMachine[];
  /** Only steps of this one are shown; all are run. */
  of?: string | undefined;
  print(line: string): void;
}>;

/** The exit code. Throws what `replay` throws. */
export function showReplay(options: ReplayOptions): number {
  const { fileName, text, machines, of } = options;
  // A file from elsewhere must not move anybody's cursor.
  const print = (line: string) => options.print(escapeControls(line));
  const outcome = replay(fileName, text, machines, {
    step(step) {
      if (of !== undefined && step.of !== of) return;
      const { at, machine, before, after, event, effects, same } = step;
      if (same > 0) print(`${" ".repeat(26)}${same} more like the one before`);
      const phases = after === undefined ? `${before} threw` : `${before} -> ${after}`;
      const done = describeAll(effects);
      print(
        `${timeOf(at)}  ${step.of} ${machine}: ${describe(event)}  ${phases}` +
          (done === "" ? "" : `  [${done}]`),
      );
    },
    note: print,
  });
  for (const line of summaryOf(fileName, outcome)) print(line);
  return outcome.difference === undefined ? 0 : DIFFERENT;
}

function summaryOf(fileName: string, { steps, difference }: Outcome): readonly string[] {
  if (difference === undefined) return [`${steps} steps, bit for bit the same`];
  const { line, then, now } = difference;
  return [
    `${fileName}:${line}: step ${steps} goes another way`,
    `  then: ${then}`,
    `  now:  ${now}`,
  ];
}

function describeAll(effects: Json): string {
  return Array.isArray(effects) ? effects.map(describe).join("; ") : "";
}

/** What it is first, then each further property. */
function describe(json: Json): string {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return textOf(json);
  const { type, kind, ...others } = json as Readonly<Record<string, Json>>;
  const head = type ?? kind;
  const rest = type === undefined || kind === undefined ? others : { kind, ...others };
  const parts = Object.entries(rest)
    .filter(([, value]) => !isNone(value))
    .map(([key, value]) => `${key}=${textOf(value)}`);
  return [...(head === undefined ? [] : [textOf(head)]), ...parts].join(" ");
}

function textOf(json: Json): string {
  if (typeof json !== "object" || json === null) {
    return String(json).replace(DIGEST, "$1…");
  }
  if (Array.isArray(json)) return `[${json.map(textOf).join(", ")}]`;
  const { $int, $number, incarnation, number } = json as Readonly<Record<string, Json>>;
  if ($int !== undefined || $number !== undefined) return String($int ?? $number);
  if (incarnation !== undefined && number !== undefined) {
    return `${textOf(incarnation)}.${textOf(number)}`;
  }
  return `{${describe(json)}}`;
}

function isNone(json: Json): boolean {
  return typeof json === "object" && json !== null && "$none" in json;
}
