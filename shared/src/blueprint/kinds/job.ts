/**
 * The kind `job`: a program of the release that runs to its end, on the agent's host or, where it names an image, in a
 * container of the host's engine. Says what its spec may hold, and has its author say what a return of the attempt makes of it: nothing to undo, an undo of its own, or no way back.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { invalid, type Violation } from "../../fault.ts";
import { below, isPlainObject, Shape } from "../shape.ts";
import {
  type ContainerBody,
  IMAGE_FORM,
  imageArtefactsOf,
  isOpenInContainer,
  mayHoldContainerSecret,
  readContainerBody,
} from "./container-body.ts";
import { readContainerArgv } from "./container-reach.ts";
import { isScheduleText, type JobWhen, readWhen } from "./job-when.ts";
import type { KindRules, SpecPath, ValueType } from "./kind.ts";
import { readArgv } from "./process-argv.ts";
import { isAmount } from "./process-limits.ts";
import {
  choosesProgram,
  isOpenWord,
  PROGRAM_COUNTERS,
  type ProgramSpec,
  readProgram,
} from "./program.ts";
import { readStop, type StopRules } from "./workload.ts";

export type JobOutputType = (typeof OUTPUT_TYPES)[number];

/** Where a job runs, in the words of processes or of containers. */
export type JobBody =
  | (Readonly<{ runsAs: "process" }> & ProgramSpec)
  | (Readonly<{ runsAs: "container" }> & ContainerBody);

/** A rendered spec with its defaults filled in. */
export type JobSpec = JobBody & JobRules;

export type JobRules = Readonly<{
  stop: StopRules;
  /** Of one try. */
  deadlineMs: number;
  /** Further tries after one that failed. */
  retries: number;
  /** The pause before the first further try, and the longest. */
  backoff: Readonly<{ baseMs: number; capMs: number }>;
  /** What it leaves behind: nothing that matters, what `undo` takes back, or what nothing takes back. */
  effect: "none" | "undone" | "irreversible";
  undo?: Readonly<{ argv: readonly string[]; deadlineMs: number }>;
  when: JobWhen;
  /** What it writes to $HOLDFAST_OUTPUTS, by name. */
  outputs: Readonly<Record<string, JobOutputType>>;
}>;

export const JOB_DEADLINE_MS_MAX = 86_400_000;
export const JOB_RETRIES_MAX = 20;
const DEADLINE_MS_MIN = 100;
const DEADLINE_MS_DEFAULT = 600_000;
const BACKOFF_MS_MAX = 3_600_000;
export const JOB_OUTPUTS_MAX = 50;
const OUTPUT_TYPES = ["string", "integer", "number", "boolean"] as const;
const BODY_RULE = "artefact: NAME for a program on the host, or image for a container";
const EFFECT_RULE = "one of effect: none, undo: {argv} and irreversible: true";

/** All that is wrong with a template or a rendered spec; `path` names the spec in messages. */
export function checkJobSpec(spec: unknown, path: string): readonly Violation[] {
  const found: Violation[] = [];
  readShape(spec, path, found);
  return found;
}

/** Throws INVALID_ARGUMENT `SPEC_INVALID` unless the rendered spec is sound. */
export function readJobSpec(spec: unknown, path: string): JobSpec {
  const found: Violation[] = [];
  const read = readShape(spec, path, found);
  if (found.length > 0) throw invalid("SPEC_INVALID", found);
  return read;
}

function readShape(spec: unknown, path: string, found: Violation[]): JobSpec {
  const shape = new Shape(spec, path, found);
  const body = readBody(shape);
  const stop = readStop(shape);
  if (stop.drainMs > 0) {
    shape.add("stop.drainMs", "a job has nothing to drain", stop.drainMs, "0");
  }
  const deadlineMs = readDeadline(shape);
  const retries = shape.integer("retries", { min: 0, max: JOB_RETRIES_MAX }) ?? 0;
  const backoff = readBackoff(shape);
  const when = readWhen(shape);
  const effect = readEffect(shape, when, body);
  const outputs = readOutputs(shape, when);
  shape.finish();
  return { ...body, stop, deadlineMs, retries, backoff, ...effect, when, outputs };
}

function readBody(shape: Shape): JobBody {
  if (!shape.has("image")) return { runsAs: "process", ...readProgram(shape) };
  if (shape.has("artefact"))
    shape.add("artefact", "two programs", shape.raw("artefact"), BODY_RULE);
  return { runsAs: "container", ...readContainerBody(shape) };
}

function readDeadline(shape: Shape): number {
  const bounds = { min: DEADLINE_MS_MIN, max: JOB_DEADLINE_MS_MAX };
  return shape.integer("deadlineMs", bounds) ?? DEADLINE_MS_DEFAULT;
}

function readBackoff(parent: Shape): JobRules["backoff"] {
  const shape = parent.object("backoff");
  const pause = { min: 10, max: BACKOFF_MS_MAX };
  const baseMs = shape?.integer("baseMs", pause) ?? 1_000;
  const capMs = shape?.integer("capMs", pause) ?? Math.max(60_000, baseMs);
  if (capMs < baseMs) shape?.add("capMs", "smaller than baseMs", capMs, `${baseMs} or more`);
  shape?.finish();
  return { baseMs, capMs };
}

/** Nothing is assumed: what is not said would be found out on the way back. */
function readEffect(
  shape: Shape,
  { kind }: JobWhen,
  { runsAs }: JobBody,
): Pick<JobRules, "effect" | "undo"> {
  const none = shape.choice("effect", ["none"]);
  const undo = shape.object("undo");
  const irreversible = shape.raw("irreversible");
  if (irreversible !== undefined && irreversible !== true) {
    shape.add("irreversible", "not true", irreversible, EFFECT_RULE);
  }
  const given = ["effect", "undo", "irreversible"].filter((name) => shape.has(name));
  if (given.length !== 1) {
    const count = given.length === 0 ? "" : `: has ${given.join(" and ")}`;
    shape.add("effect", `says not what an undo means${count}`, "", EFFECT_RULE);
  }
  if (undo === undefined) return { effect: none ?? "irreversible" };
  if (kind === "after" || kind === "schedule") {
    const rule = "effect: none or irreversible: true";
    shape.add("undo", "what runs after a commit is never undone", "", rule);
  }
  const argv = runsAs === "container" ? readContainerArgv(undo) : readArgv(undo);
  const deadlineMs = readDeadline(undo);
  undo.finish();
  return { effect: "undone", undo: { argv, deadlineMs } };
}

function readOutputs(shape: Shape, { kind }: JobWhen): JobRules["outputs"] {
  const outputs: Record<string, JobOutputType> = {};
  const map = shape.object("outputs");
  for (const [name] of shape.entries("outputs", JOB_OUTPUTS_MAX)) {
    if (!/^[A-Za-z][A-Za-z0-9_]{0,62}$/.test(name)) {
      map?.add(name, "not a name", name, "letters, digits and _, at most 63, a letter first");
    }
    outputs[name] = map?.choice(name, OUTPUT_TYPES) ?? "string";
  }
  if (map !== undefined && (kind === "after" || kind === "schedule")) {
    const rule = "none here: others would wait for a run that comes after the commit";
    shape.add("outputs", "nobody can use them", "", rule);
  }
  return outputs;
}

/** Expressions may also stand in the words of the undo, and for the hour of a schedule. */
function isStatic(spec: JsonObject, at: SpecPath): boolean {
  if (isScheduleText(at)) return false;
  const [field, list, index] = at;
  if (isContainer(spec)) {
    const isUndoWord = field === "undo" && list === "argv" && typeof index === "number";
    return !isOpenInContainer(at) && !(isUndoWord && index > 0);
  }
  if (isOpenWord(spec, at)) return false;
  const undo = spec["undo"];
  if (field !== "undo" || list !== "argv" || typeof index !== "number") return true;
  return !isPlainObject(undo) || choosesProgram(undo["argv"], index);
}

function isContainer(spec: Readonly<Record<string, unknown>>): boolean {
  return spec["image"] !== undefined;
}

/** What has to run before anything else of an attempt. */
function goesFirst(spec: JsonObject): boolean {
  const { when } = spec;
  return isPlainObject(when) && when["hook"] === "before";
}

export const JOB_KIND: KindRules = {
  kind: "job",
  isStatic,
  mayHoldSecret: mayHoldContainerSecret,
  wantsInteger: isAmount,
  check: checkJobSpec,
  outputsOf: ({ outputs }) =>
    new Map(
      Object.entries(isPlainObject(outputs) ? outputs : {}).map(([name, type]) => [
        name,
        OUTPUT_TYPES.find((each) => each === type) ?? ("any" satisfies ValueType),
      ]),
    ),
  portsOf: () => [],
  fixedPortsOf: () => [],
  artefactsOf: (spec) => {
    if (isContainer(spec)) return imageArtefactsOf(spec);
    return typeof spec["artefact"] === "string" ? [spec["artefact"]] : [];
  },
  artefactForm: (spec) =>
    isContainer(spec) ? IMAGE_FORM : { field: "artefact", is: "directory" as const },
  alsoNeeds: (spec) => (isContainer(spec) ? ["container"] : []),
  counters: PROGRAM_COUNTERS,
  goesFirst,
};

/** Where `$HOLDFAST_OUTPUTS` says something of another type than was declared. */
export function outputProblems(
  declared: JobRules["outputs"],
  given: Readonly<Record<string, unknown>>,
): readonly string[] {
  const missing = Object.keys(declared).filter((name) => !Object.hasOwn(given, name));
  const wrong = Object.entries(declared).filter(
    ([name, type]) => Object.hasOwn(given, name) && !isOfType(given[name], type),
  );
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(declared, name));
  return [
    ...missing.map((name) => `${name} is missing`),
    ...wrong.map(([name, type]) => `${name} is not of type ${type}`),
    ...unknown.map((name) => `${below("", name)} was not declared`),
  ];
}

function isOfType(value: unknown, type: JobOutputType): boolean {
  if (type === "integer") return Number.isSafeInteger(value);
  return typeof value === type && (type !== "number" || Number.isFinite(value));
}
