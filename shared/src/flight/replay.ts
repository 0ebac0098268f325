/**
 * Runs a recorded flight again, step by step, through the same machines, and compares what comes of each with what came
 * of it then. Pure: text in, lines out. Refuses a file that it cannot trust whole, with the line that is wrong.
 */
import { Fault } from "../fault.ts";
import { shown } from "../text.ts";
import { checkOf, FLIGHT_FORMAT, LINE_BYTES_MAX, type StateLine, type StepLine } from "./line.ts";
import type { Machine } from "./machine.ts";
import { type Json, Redaction, revived } from "./redact.ts";

// biome-ignore lint/suspicious/noExplicitAny: each machine has a state and events of its own; the file says which
export type AnyMachine = Machine<any, any, any>;

/** Of both segments of the largest recorder, with room. */
export const FLIGHT_BYTES_MAX = 64 * 1024 * 1024;

/** One step, as it went again. */
export type Replayed = Readonly<{
  line: number;
  at: number;
  machine: string;
  of: string;
  event: Json;
  before: string;
  /** Undefined where the machine threw, now as then. */
  after: string | undefined;
  effects: Json;
  /** Steps like it before this one that are not in the file. */
  same: number;
}>;

export type Outcome = Readonly<{
  steps: number;
  /** The first step that went another way; nothing after it was run. */
  difference: Difference | undefined;
}>;

export type Difference = Readonly<{ line: number; then: string; now: string }>;

export type Told = Readonly<{
  step(step: Replayed): void;
  /** Anything else that a reader should see in its place. */
  note(line: string): void;
}>;

type Flying = { machine: AnyMachine; of: string; state: unknown };

/** Throws INVALID_ARGUMENT `FLIGHT_DAMAGED`, `FLIGHT_CUT`, FAILED_PRECONDITION `FLIGHT_NEWER`, each with file and line. */
export function replay(
  fileName: string,
  text: string,
  machines: readonly AnyMachine[],
  told: Told,
): Outcome {
  const tracks = new Map<number, Flying>();
  let steps = 0;
  let hasHeader = false;
  let hasEnded = false;
  for (let from = 0, line = 1; from < text.length; line++) {
    const end = text.indexOf("\n", from);
    const at: Place = { fileName, line };
    if (end < 0) throw cut(at, steps);
    const read = parsed(text.slice(from, end), at);
    from = end + 1;
    if ("flight" in read) {
      told.note(headerOf(read, at));
      // Numbers of tracks go on in the next segment of a life, and its first lines have their states.
      tracks.clear();
      hasHeader = true;
      hasEnded = false;
      continue;
    }
    if (!hasHeader) throw damaged(at, "no header comes before it");
    if ("end" in read) {
      told.note(endOf(read));
      hasEnded = true;
    } else if ("gap" in read) {
      tracks.delete(numberOf(read, "t", at));
      told.note(`${idOf(read, tracks)}a step is missing: ${shown(read["gap"])}`);
    } else if ("state" in read) {
      const { t, flying } = opened(read as unknown as StateLine, machines, at);
      tracks.set(t, flying);
    } else {
      const flying = tracks.get(numberOf(read, "t", at));
      if (flying === undefined) throw damaged(at, "its track has no state before it");
      const difference = stepAgain(flying, stepOf(read, at), at, told);
      steps += 1;
      if (difference !== undefined) return { steps, difference };
    }
  }
  if (!hasHeader) throw damaged({ fileName, line: 1 }, "the file is empty");
  if (!hasEnded) told.note("no end: the program was killed after this, or ran on");
  return { steps, difference: undefined };
}

type Place = Readonly<{ fileName: string; line: number }>;
type Line = Readonly<Record<string, unknown>>;

function stepAgain(flying: Flying, step: StepLine, at: Place, told: Told): Difference | undefined {
  const { machine, of } = flying;
  const { line } = at;
  const random = [...(step.random ?? [])];
  const before = phaseOf(flying.state);
  const event = revivedOf(step.event, "event", at);
  const outcome = outcomeOf(flying, event, step.at, random);
  const then = step.checks === undefined ? "it threw" : `checks ${step.checks.join(" ")}`;
  const shownStep = { line, at: step.at, machine: machine.name, of, event: step.event, before };
  if (typeof outcome === "string") {
    if (step.checks !== undefined) return { line, then, now: outcome };
    told.step({ ...shownStep, after: undefined, effects: [], same: step.same ?? 0 });
    return undefined;
  }
  const [state, effects] = outcome;
  const redaction = new Redaction(machine.words);
  const became = redaction.text(state);
  const said = redaction.text(effects);
  const checks = [checkOf(became), checkOf(said)] as const;
  const isSame = step.checks?.[0] === checks[0] && step.checks[1] === checks[1];
  if (!isSame || random.length > 0) {
    const chance = random.length > 0 ? `; drew ${random.length} numbers less` : "";
    const now = `checks ${checks.join(" ")}${chance}: ${became} and ${said}`;
    return { line, then, now };
  }
  const same = step.same ?? 0;
  told.step({ ...shownStep, after: phaseOf(state), effects: JSON.parse(said) as Json, same });
  flying.state = state;
  return undefined;
}

/** What comes of it now, or how it fails. Takes the numbers that it draws from the list. */
function outcomeOf({ machine, state }: Flying, event: unknown, at: number, random: number[]) {
  const draw = () => {
    const next = random.shift();
    if (next === undefined) throw new DrawsMore();
    return next;
  };
  try {
    return machine.step(state, event, at, draw);
  } catch (error) {
    return error instanceof DrawsMore ? "it draws more numbers" : `it throws ${shown(error)}`;
  }
}

class DrawsMore extends Error {}

function phaseOf(state: unknown): string {
  return String((state as { phase?: unknown } | undefined)?.phase ?? "?");
}

function opened(
  { t, machine: name, of, state }: StateLine,
  machines: readonly AnyMachine[],
  at: Place,
): Readonly<{ t: number; flying: Flying }> {
  const machine = machines.find((each) => each.name === name);
  if (machine === undefined) {
    const known = machines.map((each) => each.name).join(", ");
    const said = `machine: got ${shown(name)}; this program has ${known}`;
    throw new Fault("FAILED_PRECONDITION", "FLIGHT_FOREIGN", `${placeOf(at)}: ${said}`, {
      next: "replay it with the program, and the version, that its header names",
    });
  }
  if (!Number.isSafeInteger(t)) throw damaged(at, "t: not a number of a track");
  return { t, flying: { machine, of: String(of), state: revivedOf(state, "state", at) } };
}

function stepOf(line: Line, at: Place): StepLine {
  const { random, checks, same } = line;
  numberOf(line, "at", at);
  if (!("event" in line)) throw damaged(at, "event: it is missing");
  const isNumbers = (list: unknown) =>
    list === undefined || (Array.isArray(list) && list.every((each) => typeof each === "number"));
  if (!isNumbers(random)) throw damaged(at, "random: not a list of numbers");
  if (!isNumbers(checks)) throw damaged(at, "checks: not a list of numbers");
  if (same !== undefined) numberOf(line, "same", at);
  return line as unknown as StepLine;
}

function parsed(text: string, at: Place): Line {
  if (text.length > LINE_BYTES_MAX) {
    throw damaged(at, `${text.length} characters; at most ${LINE_BYTES_MAX}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Line;
  } catch {
    // Said below, without the text of the parser, which differs by its version.
  }
  throw damaged(at, `got ${shown(text)}; allowed: a JSON object`);
}

function headerOf(line: Line, at: Place): string {
  const format = numberOf(line, "flight", at);
  if (format > FLIGHT_FORMAT) {
    const message = `${placeOf(at)}: flight ${format}; this program reads ${FLIGHT_FORMAT}`;
    throw new Fault("FAILED_PRECONDITION", "FLIGHT_NEWER", message, {
      next: `replay it with ${shown(line["program"])} ${shown(line["version"])} or newer`,
    });
  }
  const began = timeOf(numberOf(line, "at", at), at);
  const { program, version, life, segment } = line;
  return `${began}  segment ${shown(segment)} of life ${shown(life)}: ${shown(program)} ${shown(version)}`;
}

function endOf({ end, at, error }: Line): string {
  const why = error === undefined ? "" : `: ${shown(error)}`;
  const time = typeof at === "number" ? `${timeOf(at)}  ` : "";
  return `${time}the program ${shown(end)}${why}`;
}

function idOf({ t }: Line, tracks: ReadonlyMap<number, Flying>): string {
  const of = tracks.get(Number(t))?.of;
  return of === undefined ? "" : `${of}: `;
}

function numberOf(line: Line, name: string, at: Place): number {
  const value = line[name];
  if (typeof value === "number") return value;
  throw damaged(at, `${name}: got ${shown(value)}; allowed: a number`);
}

/** Far from any real time is no time. */
const TIME_MS_MAX = 8.64e15;

export function timeOf(ms: number, at?: Place): string {
  if (Math.abs(ms) <= TIME_MS_MAX) return new Date(ms).toISOString();
  if (at !== undefined) throw damaged(at, `at: got ${ms}; allowed: milliseconds since 1970`);
  return String(ms);
}

function revivedOf(json: Json, name: string, at: Place): unknown {
  const found = revived(json);
  if (found === undefined) throw damaged(at, `${name}: no recorder writes such a value`);
  return found.value;
}

function placeOf({ fileName, line }: Place): string {
  return `${fileName}:${line}`;
}

function damaged(at: Place, what: string): Fault {
  return new Fault("INVALID_ARGUMENT", "FLIGHT_DAMAGED", `${placeOf(at)}: ${what}`, {
    next: "take it again with the command record",
  });
}

function cut(at: Place, steps: number): Fault {
  const message = `${placeOf(at)}: the line is cut off; ${steps} steps before it went the same way`;
  return new Fault("INVALID_ARGUMENT", "FLIGHT_CUT", message, {
    next: "take it again with the command record, which leaves such a line out",
  });
}
