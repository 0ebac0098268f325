/**
 * Carries a job's program or its undo out to the end: every try with the pauses between them. Done again after a crash,
 * it goes on with the run that is under way, and never begins one that may have done its work if that cannot be undone.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, StepContext, Wanted } from "../driver.ts";
import { pause } from "../host-process/end.ts";
import type { Job, RunEnd } from "./ledger.ts";
import { nextMove, type Rules } from "./next.ts";
import { beginRun, endRun, settleRun } from "./run.ts";
import { isAway, type Part, type Runner, type SeenRun } from "./runner.ts";
import type { JobSpec } from "./spec.ts";
import { standingOf } from "./standing.ts";

/** Between two looks at one that runs. Of a child of this agent the end is heard of at once. */
const LOOK_MS_FIRST = 20;
const LOOK_MS_MAX = 1_000;
/** For an engine that does not answer. */
const AWAY_MS_MAX = 60_000;
/** Starts that came to nothing, one after the other, such as for want of disk. */
const UNBEGUN_MAX = 3;

export type Carried = Readonly<{ job: Job; end: RunEnd }>;

type Task = Readonly<{ wanted: Wanted; spec: JobSpec; part: Part }>;

/** Throws CANCELLED `AGENT_STOPPING` when the agent ends; what runs goes on, and is found again. */
export async function carryOut(
  runner: Runner,
  begun: Job,
  task: Task,
  context: StepContext,
): Promise<Carried> {
  const { spec, part } = task;
  const rules = rulesOf(spec, part);
  let job = begun;
  let unbegun = 0;
  for (let lookMs = LOOK_MS_FIRST; ; ) {
    const { settled, seen } = await lookAt(runner, job, task, context);
    job = settled;
    const standing = seen && standingOf(seen);
    const now = context.clock.now();
    const move = nextMove(standing, rules, now);
    if (move.do === "nothing") {
      const end = job[part]?.end;
      if (end === undefined) throw new Fault("INTERNAL", "INTERNAL", "a run without its end");
      return { job, end };
    }
    if (move.do === "end") {
      if (seen !== undefined && move.at <= now) {
        job = await endRun(job, part, seen, move.why, context);
        continue;
      }
      await waitForEnd(seen, Math.min(lookMs, move.at - now), context);
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
    job = await beginRun(runner, job, { ...task, run: { number, try: move.try } }, context);
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
  runner: Runner,
  job: Job,
  { spec, part }: Pick<Task, "spec" | "part">,
  context: DriverContext,
): Promise<Readonly<{ settled: Job; seen: SeenRun | undefined }>> {
  const run = job[part];
  if (run === undefined) return { settled: job, seen: undefined };
  const look = await patiently(context, () => runner.look([job], context));
  const seen = look.see(job, run);
  if (run.end !== undefined) return { settled: job, seen };
  await patiently(context, () => seen.watch(spec));
  const settled = settleRun(job, part, seen, spec, context);
  return { settled, seen: { ...seen, run: settled[part] ?? run } };
}

/** What runs goes on while its engine is started anew, and so does the wait for it. */
async function patiently<Answer>(
  context: DriverContext,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  const deadline = context.clock.monotonic() + AWAY_MS_MAX;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isAway(error) || context.clock.monotonic() > deadline) throw error;
      await pause(LOOK_MS_MAX, context);
    }
  }
}

async function waitForEnd(
  seen: SeenRun | undefined,
  ms: number,
  context: DriverContext,
): Promise<void> {
  const done = new AbortController();
  const { clock, signal } = context;
  const stop = AbortSignal.any([done.signal, signal]);
  const late = clock.sleep(Math.max(1, ms), stop);
  const ended = seen?.ended(stop);
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
