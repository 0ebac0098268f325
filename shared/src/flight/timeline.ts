/** A replayed flight for people: one line for each step, and how it ended. Pure. */
import type { Json } from "./redact.ts";
import { type AnyMachine, type Outcome, replay, timeOf } from "./replay.ts";

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
export function showReplay({ fileName, text, machines, of, print }: ReplayOptions): number {
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
  print(summaryOf(fileName, outcome));
  return outcome.difference === undefined ? 0 : DIFFERENT;
}

function summaryOf(fileName: string, { steps, difference }: Outcome): string {
  if (difference === undefined) return `${steps} steps, bit for bit the same`;
  const { line, then, now } = difference;
  return `${fileName}:${line}: step ${steps} goes another way\n  then: ${then}\n  now:  ${now}`;
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
  if (typeof json !== "object" || json === null) return String(json);
  if (Array.isArray(json)) return `[${json.map(textOf).join(", ")}]`;
  const { $int, $number } = json as Readonly<Record<string, Json>>;
  if ($int !== undefined || $number !== undefined) return String($int ?? $number);
  return `{${describe(json)}}`;
}

function isNone(json: Json): boolean {
  return typeof json === "object" && json !== null && "$none" in json;
}
