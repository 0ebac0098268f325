/**
 * Carries a job's program or its undo out to the end: every try with the pauses between them. Done again after a crash,
 * it goes on with the run that is under way, and never begins one that may have done its work if that cannot be undone.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, StepContext, Wanted } from "../driver.ts";
import { findCopies } from "../host-process/copies.ts";
import { pause } from "../host-process/end.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { sampleMeter } from "../host-process/meter.ts";
import { writeHealth } from "../host-process/record.ts";
import { overuseOf } from "../host-process/watch.ts";
import type { Job, RunEnd } from "./ledger.ts";
import { nextMove, type Rules } from "./next.ts";
import { beginRun, endRun, type Part, settleRun } from "./run.ts";
import type { JobSpec } from "./spec.ts";
import { isAlive, type SeenRun, seenRun, standingOf } from "./standing.ts";

/** Between two looks at one that runs. Of a child of this agent the end is heard of at once. */
const LOOK_MS_FIRST = 20;
const LOOK_MS_MAX = 1_000;
/** Starts that came to nothing, one after the other, such as for want of disk. */
const UNBEGUN_MAX = 3;

export type Carried = Readonly<{ job: Job; end: RunEnd }>;

type Task = Readonly<{ wanted: Wanted; spec: JobSpec; part: Part }>;

/** Throws CANCELLED `AGENT_STOPPING` when the agent ends; what runs goes on, and is found again. */
export async function carryOut(
  host: ProgramHost,
  begun: Job,
  task: Task,
  context: StepContext,
): Promise<Carried> {
  const { spec, part } = task;
  const rules = rulesOf(spec, part);
  let job = begun;
  let unbegun = 0;
  for (let lookMs = LOOK_MS_FIRST; ; ) {
    const { settled, seen } = await lookAt(host, job, task, context);
    job = settled;
    const standing = seen && standingOf(seen, host.procDir, context);
    const now = context.clock.now();
    const move = nextMove(standing, rules, now);
    if (move.do === "nothing") {
      const end = job[part]?.end;
      if (end === undefined) throw new Fault("INTERNAL", "INTERNAL", "a run without its end");
      return { job, end };
    }
    if (move.do === "end") {
      if (seen !== undefined && move.at <= now) {
        job = await endRun(host, job, part, seen, move.why, context);
        continue;
      }
      await waitForEnd(host, seen, Math.min(lookMs, move.at - now), context);
      lookMs = Math.min(lookMs * 2, LOOK_MS_MAX);
      continue;
    }
    if (move.at > now) {
      await pause(Math.min(move.at - now, LOOK_MS_MAX), context);
      continue;
    }
    if (standing?.phase === "unbegun" && ++unbegun > UNBEGUN_MAX) throw notBegun(job);
    const isAgain = standing?.phase === "unbegun";
    const number = isAgain ? standing.number : job.runs;
    job = await beginRun(host, job, { ...task, run: { number, try: move.try } }, context);
    lookMs = LOOK_MS_FIRST;
  }
}

/** The undo is tried again by whoever asked for it, and has to bear that. */
function rulesOf(spec: JobSpec, part: Part): Rules {
  if (part === "run") return spec;
  const deadlineMs = spec.undo?.deadlineMs ?? spec.deadlineMs;
  return { deadlineMs, retries: 0, backoff: spec.backoff, effect: "none" };
}

async function lookAt(
  host: ProgramHost,
  job: Job,
  { spec, part }: Pick<Task, "spec" | "part">,
  context: DriverContext,
): Promise<Readonly<{ settled: Job; seen: SeenRun | undefined }>> {
  const run = job[part];
  if (run === undefined || run.end !== undefined) {
    return { settled: job, seen: run && seenRun(job, run, [], context) };
  }
  const seen = seenRun(job, run, await findCopies(host, context), context);
  await watch(host, seen, spec, context);
  const settled = settleRun(host, job, part, seen, spec, context);
  const last = settled[part];
  return { settled, seen: last === undefined ? seen : { ...seen, run: last } };
}

/** What a look is good for besides: its meter, and limits that no control group keeps. */
export async function watch(
  { procDir }: ProgramHost,
  seen: SeenRun,
  { limits }: Pick<JobSpec, "limits">,
  context: DriverContext,
): Promise<void> {
  const { copy, runDir } = seen;
  if (copy === undefined || !isAlive(seen)) return;
  if (copy.running) sampleMeter(procDir, copy);
  const overuse = await overuseOf(procDir, copy, limits, context);
  if (overuse === "") return;
  writeHealth(runDir, { wasReady: false, failures: 0, failing: true, overuse });
}

async function waitForEnd(
  { children }: ProgramHost,
  seen: SeenRun | undefined,
  ms: number,
  context: DriverContext,
): Promise<void> {
  const process = seen?.copy?.process;
  const ended = process && children.ended(process);
  const done = new AbortController();
  const { clock, signal } = context;
  const late = clock.sleep(Math.max(1, ms), AbortSignal.any([done.signal, signal]));
  await Promise.race(ended === undefined ? [late] : [late, ended]);
  done.abort("over");
  await pause(0, context);
}

function notBegun({ handle }: Job): Fault {
  return new Fault(
    "UNAVAILABLE",
    "JOB_NOT_BEGUN",
    `${handle}: ${UNBEGUN_MAX} starts came to nothing: its supervisor ended before the program began, such as for want of disk`,
  );
}
