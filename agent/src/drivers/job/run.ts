/** Begins, ends and settles one run: what is known of it is durable before its program may begin and after it has ended. */
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { endOf } from "./ending.ts";
import { type Ending, type Job, jobDir, type Run, SAID_LINES_MAX, writeJob } from "./ledger.ts";
import { readOutputs } from "./outputs.ts";
import type { Begin, Part, Runner, SeenRun } from "./runner.ts";
import type { JobSpec } from "./spec.ts";

/** Writes the run down and lets its program begin; gives the job as it is written then. */
export async function beginRun(
  runner: Runner,
  job: Job,
  begin: Begin,
  context: DriverContext,
): Promise<Job> {
  const { part, run } = begin;
  const beganAt = context.clock.now();
  const runs = Math.max(job.runs, run.number + 1);
  const begun: Job = { ...job, runs, [part]: { ...run, beganAt, isLaunched: false } };
  let launched = keep(begun, context);
  await runner.begin(
    begun,
    begin,
    (known) => {
      const run = withRun(begun, part, (each) => ({ ...each, ...known, isLaunched: true }));
      launched = keep(run, context);
    },
    context,
  );
  return launched;
}

export function keep(job: Job, context: DriverContext): Job {
  writeJob(jobDir(context, job.instance, job.handle), job);
  return job;
}

/** Ends what runs of it: why is written down first, so that it is known whoever sees the end. */
export async function endRun(
  job: Job,
  part: Part,
  seen: SeenRun,
  why: Ending,
  context: DriverContext,
): Promise<Job> {
  const ending = withRun(job, part, (run) => ({ ...run, ending: run.ending ?? why }));
  keep(ending, context);
  await seen.end();
  return ending;
}

/** Writes down how a run ended that is over; the job as it was where it is not. In one turn of the event loop. */
export function settleRun(
  job: Job,
  part: Part,
  seen: SeenRun,
  spec: JobSpec,
  context: DriverContext,
): Job {
  if (seen.run.end !== undefined || seen.isAlive || seen.isUnbegun()) return job;
  const said = seen.said(SAID_LINES_MAX);
  const found = endOf(seen);
  const isDone = found.outcome === "done" && part === "run";
  const read = isDone
    ? readOutputs(spec.outputs, () => seen.gives(spec))
    : { outputs: job.outputs };
  const end =
    "problem" in read
      ? { ...found, outcome: "failed" as const, message: `${found.message}; ${read.problem}` }
      : found;
  const outputs = "problem" in read ? job.outputs : read.outputs;
  const settled = withRun({ ...job, outputs, said, hasBegun: true }, part, (run) => ({
    ...run,
    end,
  }));
  seen.close(end.at);
  keep(settled, context);
  seen.letGo();
  return settled;
}

function withRun(job: Job, part: Part, change: (run: Run) => Run): Job {
  const run = job[part];
  return run === undefined ? job : { ...job, [part]: change(run) };
}

/** A job that is written down before anything of it runs. */
export function newJob(
  wanted: Wanted,
  handle: string,
  generation: string | undefined,
  { when, effect, runsAs, stop }: Pick<JobSpec, "when" | "effect" | "runsAs" | "stop">,
  now: number,
): Job {
  return {
    instance: wanted.key.instanceId,
    resource: wanted.key.resourceId,
    ...{ handle, digest: wanted.digest, runsAs },
    stop: { signal: stop.signal, graceMs: stop.graceMs },
    generation: generation ?? formatGeneration(wanted.generation),
    ...{ when: when.kind, effect, beganAt: now, runs: 0 },
    ...{ hasBegun: false, isRecalled: false, outputs: {}, said: [] },
  };
}
