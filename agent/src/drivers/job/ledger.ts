/**
 * What is written down of a job, in `job.json` of its own folder below run/: which rendering it is, its runs and how
 * they ended. Durable before a program may begin and after it has ended, so that no run is lost or done twice.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { JobSpec } from "@holdfast/shared/blueprint/kinds/job.ts";
import type { JobWhen } from "@holdfast/shared/blueprint/kinds/job-when.ts";
import type { DriverContext, JsonObject, JsonValue } from "../driver.ts";
import { foldersOf } from "../folders.ts";
import { objectOf, readJson, replaceJson, syncDirectory } from "../json-file.ts";
import { isHandle, isInstanceId } from "../names.ts";

/** Why the agent ended a run. */
export const ENDINGS = ["deadline", "limits", "cancelled", "replaced", "halted"] as const;
export type Ending = (typeof ENDINGS)[number];

/** `unknown`: it was begun, and nobody saw how it ended. */
export const OUTCOMES = ["done", "failed", "unknown"] as const;
export type Outcome = (typeof OUTCOMES)[number];

const WHENS = [
  "change",
  "before",
  "after",
  "schedule",
] as const satisfies readonly JobWhen["kind"][];

export type JobEffect = JobSpec["effect"];
const EFFECTS = ["none", "undone", "irreversible"] as const satisfies readonly JobEffect[];

export type StopSettings = Readonly<{ signal: string; graceMs: number }>;

/** One start of the job's program, or of its undo. */
export type Run = Readonly<{
  /** From 0 on, over all runs of this job. */
  number: number;
  /** From 1 on, over the tries of one run. */
  try: number;
  /** Wall clock, ms. */
  beganAt: number;
  /** The time of the schedule that it is for. */
  dueAt?: number;
  /** Its supervisor was started and is about to be given the word: from here on the program may have run. */
  isLaunched: boolean;
  /** ms since the host was switched on when it was launched, where nothing else tells how long it runs. */
  uptimeMs?: number;
  ending?: Ending;
  end?: RunEnd;
}>;

export type RunEnd = Readonly<{
  /** Wall clock, ms. */
  at: number;
  outcome: Outcome;
  /** One line for people, with the last lines of output. */
  message: string;
}>;

export type Job = Readonly<{
  instance: string;
  resource: string;
  handle: string;
  runsAs: "process" | "container";
  /** How what runs is told to end; unknown of runs that nobody has written down. */
  stop?: StopSettings;
  digest: string;
  /** `incarnation.number` */
  generation: string;
  when: JobWhen["kind"];
  effect: JobEffect;
  /** When it was first heard of: a schedule counts from here. Wall clock, ms. */
  beganAt: number;
  /** Begun so far: the number of the next one. */
  runs: number;
  /** The newest run. */
  run?: Run;
  undo?: Run;
  /** Some try has begun: there may be something to undo. */
  hasBegun: boolean;
  /** It was done once, as far as is known of a record that was lost. */
  isRecalled: boolean;
  /** Of the last run that was done. */
  outputs: JsonObject;
  /** The last lines of the newest run that has ended, without its secrets. */
  said: readonly string[];
}>;

const JOB_FILE = "job.json";
const JOB_VERSION = 1;
const JOB_BYTES_MAX = 262_144;
export const SAID_LINES_MAX = 20;
/** Of one job; more was not written by us. */
const RUNS_MAX = 1_000_000_000;

/** `<instance's run/>/<handle>`: nothing of a journal leads out of it. */
export function jobDir({ directories }: DriverContext, instanceId: string, handle: string): string {
  return join(directories(instanceId).run, handle);
}

export function runHandle(handle: string, number: number): string {
  return `${handle}j${number}`;
}

/** The job that a run belongs to. */
export function jobHandleOf(name: string): string {
  return name.replace(/j\d+$/, "");
}

export function writeJob(dir: string, job: Job): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  replaceJson(join(dir, JOB_FILE), { version: JOB_VERSION, ...job }, { durable: true });
  syncDirectory(join(dir, ".."));
}

/** Every job of this state directory; one torn file is one job less, and its runs are found by their marks. */
export function findJobs({ stateDir }: DriverContext): readonly Job[] {
  const instances = join(stateDir, "instances");
  return foldersOf(instances).flatMap((instance) => {
    const run = join(instances, instance, "run");
    return namesIn(run).flatMap((name) => readJob(join(run, name)) ?? []);
  });
}

/** Folders of runs end with a letter and a number and are not looked into. */
function namesIn(run: string): readonly string[] {
  try {
    return readdirSync(run).filter((name) => isHandle(name) && !/[rj]\d+$/.test(name));
  } catch {
    return [];
  }
}

export function readJob(dir: string): Job | undefined {
  const found = readJson(join(dir, JOB_FILE), JOB_BYTES_MAX);
  if (found?.["version"] !== JOB_VERSION) return undefined;
  const { instance, resource, handle, digest, generation, beganAt } = found;
  if (typeof instance !== "string" || !isInstanceId(instance)) return undefined;
  if (typeof resource !== "string" || typeof digest !== "string") return undefined;
  if (typeof handle !== "string" || !isHandle(handle) || !dir.endsWith(`/${handle}`))
    return undefined;
  if (typeof generation !== "string" || !/^\d+\.\d+$/.test(generation)) return undefined;
  if (typeof beganAt !== "number") return undefined;
  const run = runIn(found["run"]);
  const undo = runIn(found["undo"]);
  const { said, runs } = found;
  if (typeof runs !== "number" || !(runs >= 0 && runs <= RUNS_MAX)) return undefined;
  return {
    ...{ instance, resource, handle, digest, generation, beganAt, runs },
    runsAs: found["runsAs"] === "container" ? "container" : "process",
    ...stopIn(objectOf(found["stop"])),
    when: WHENS.find((each) => each === found["when"]) ?? "change",
    // Where it is not said, nothing may be assumed to be taken back.
    effect: EFFECTS.find((each) => each === found["effect"]) ?? "irreversible",
    ...(run && { run }),
    ...(undo && { undo }),
    hasBegun: found["hasBegun"] === true,
    isRecalled: found["isRecalled"] === true,
    outputs: objectOf(found["outputs"]) ?? {},
    said: Array.isArray(said) ? said.filter((line) => typeof line === "string") : [],
  };
}

function stopIn(found: JsonObject | undefined): Pick<Job, "stop"> {
  const { signal, graceMs } = found ?? {};
  if (typeof signal !== "string" || typeof graceMs !== "number") return {};
  return { stop: { signal, graceMs } };
}

function runIn(value: JsonValue | undefined): Run | undefined {
  const found = objectOf(value);
  const { number, beganAt, dueAt, uptimeMs } = found ?? {};
  const tries = found?.["try"];
  if (typeof number !== "number" || !(number >= 0 && number <= RUNS_MAX)) return undefined;
  if (typeof beganAt !== "number" || typeof tries !== "number") return undefined;
  const ending = ENDINGS.find((each) => each === found?.["ending"]);
  const end = endIn(objectOf(found?.["end"]));
  return {
    ...{ number, beganAt, try: tries },
    ...(typeof dueAt === "number" && { dueAt }),
    isLaunched: found?.["isLaunched"] !== false,
    ...(typeof uptimeMs === "number" && { uptimeMs }),
    ...(ending && { ending }),
    ...(end && { end }),
  };
}

function endIn(found: JsonObject | undefined): RunEnd | undefined {
  const { at, message } = found ?? {};
  const outcome = OUTCOMES.find((each) => each === found?.["outcome"]);
  if (typeof at !== "number" || typeof message !== "string") return undefined;
  return outcome && { at, outcome, message };
}
