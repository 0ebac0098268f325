/** What each step of a job does. Every one of them finds what it did before, and says the same again. */
import { rmSync } from "node:fs";
import { Fault } from "@holdfast/shared/fault.ts";
import {
  type DriverContext,
  HAS_ACTED,
  type StepContext,
  type StepOrder,
  type StepOutcome,
  type Wanted,
} from "../driver.ts";
import { carryOut } from "./carry-out.ts";
import { inputOf } from "./input.ts";
import { type Job, jobDir, type Run, readJob } from "./ledger.ts";
import { beginRun, endRun, keep, newJob, settleRun } from "./run.ts";
import { eachOf, type Runners, runnerOf, type SeenRun } from "./runner.ts";
import { renderedSpecOf, specOf } from "./spec.ts";

/** Until its end, with all its tries. Throws FAILED_PRECONDITION `JOB_FAILED`, ABORTED `JOB_END_UNKNOWN`. */
export async function runJob(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const known = jobOf(order, wanted, context);
  const { job, end } = await carryOut(
    runnerOf(runners, known),
    known,
    { wanted, spec, part: "run" },
    context,
  );
  const { handle, outputs } = job;
  if (end.outcome === "done") return { handle, outputs, message: end.message };
  const acted = { metadata: { [HAS_ACTED]: "true" } };
  const tries = job.run?.try ?? 1;
  const what = tries > 1 ? `failed ${tries} times; the last one ${end.message}` : end.message;
  if (end.outcome === "failed") {
    throw new Fault("FAILED_PRECONDITION", "JOB_FAILED", `${order.resourceId}: ${what}`, acted);
  }
  const rule =
    spec.effect === "irreversible" ? "; it cannot be undone, so it is not run again" : "";
  throw new Fault("ABORTED", "JOB_END_UNKNOWN", `${order.resourceId}: ${what}${rule}`, acted);
}

/** Takes back what it did, if anything of it has run. Throws FAILED_PRECONDITION `JOB_UNDO_FAILED`. */
export async function undoJob(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const known = findJob(order, context);
  if (known === undefined) return await forgetJob(runners, order, context);
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const job = await endWhatRuns(runners, known, context);
  if (!job.hasBegun || spec.undo === undefined) return await forgetJob(runners, order, context);
  // One that failed before is tried once more.
  const { undo, ...rest } = job;
  const isFailed = undo?.end !== undefined && undo.end.outcome !== "done";
  const begun = isFailed ? rest : job;
  const { end } = await carryOut(
    runnerOf(runners, begun),
    begun,
    { wanted, spec, part: "undo" },
    context,
  );
  if (end.outcome !== "done") {
    const message = `${order.resourceId}: its undo ${end.message}`;
    throw new Fault("FAILED_PRECONDITION", "JOB_UNDO_FAILED", message);
  }
  await forgetJob(runners, order, context);
  return { handle: job.handle, message: `undone: ${end.message}` };
}

/** It is there and waits for its time. */
export async function armJob(order: StepOrder, context: StepContext): Promise<StepOutcome> {
  const { handle } = jobOf(order, await wantedOf(order, context), context);
  return { handle, message: "waits for its time" };
}

/** It was done, and what was written down of that is lost. */
export async function recallJob(order: StepOrder, context: StepContext): Promise<StepOutcome> {
  const job = jobOf(order, await wantedOf(order, context), context);
  if (!job.isRecalled && job.run === undefined) keep({ ...job, isRecalled: true }, context);
  return { handle: job.handle, message: "was done before; the record of it was lost" };
}

/** Begins one run of a schedule and does not wait for it. */
export async function startRun(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const job = await settledJob(runners, jobOf(order, wanted, context), order, context);
  const { handle } = job;
  const number = input.number();
  if (job.run !== undefined && job.run.number >= number) {
    const seen = await see(runners, job, job.run, context);
    if (job.run.number > number || seen.isAlive || !seen.isUnbegun()) {
      return { handle, message: "was begun before" };
    }
  }
  const runner = runnerOf(runners, job);
  if (job.run !== undefined && job.run.number < number) {
    await runner.remove(job, job.run.number, context);
  }
  const dueAt = input.dueAt();
  const run = { number, try: input.try(), ...(dueAt !== undefined && { dueAt }) };
  await beginRun(runner, job, { wanted, spec, part: "run", run }, context);
  return { handle, message: `run ${number} begun` };
}

/** Ends a run of a schedule before its own end. */
export async function stopRun(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const job = findJob(order, context);
  if (job?.run === undefined || job.run.number !== input.number()) {
    return { handle: input.handle(), message: "was over already" };
  }
  const seen = await see(runners, job, job.run, context);
  const isOver = !seen.isAlive;
  const ended = isOver ? job : await endRun(job, "run", seen, input.why(), context);
  const settled = await settledJob(runners, ended, order, context);
  return { handle: job.handle, message: settled.run?.end?.message ?? "is over" };
}

/** Writes down how the newest run ended. */
export async function settleJob(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const job = findJob(order, context);
  if (job === undefined) return { handle: inputOf(order).handle(), message: "is gone" };
  const settled = await settledJob(runners, job, order, context);
  return { handle: job.handle, message: settled.run?.end?.message ?? "is not over" };
}

/** Ends whatever of it runs and removes all of it but its logs and its last readings. */
export async function forgetJob(
  runners: Runners,
  order: StepOrder,
  context: DriverContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const [instanceId, handle] = [input.instance(), input.handle()];
  const job = findJob(order, context);
  const lost = { instance: instanceId, handle };
  const known = job === undefined ? eachOf(runners) : [runnerOf(runners, job)];
  let found = 0;
  for (const runner of known) {
    found += await runner.forget(job ?? lost, context);
    for (const number of [job?.run?.number, job?.undo?.number]) {
      if (job !== undefined && number !== undefined) await runner.remove(job, number, context);
    }
  }
  rmSync(jobDir(context, instanceId, handle), { recursive: true, force: true });
  const message = job === undefined && found === 0 ? "was gone already" : "forgotten";
  return { handle, message };
}

/** Ends whatever of it runs; it is found as one that was cut off, whether or not it is known what it was. */
export async function haltJob(
  runners: Runners,
  order: StepOrder,
  context: DriverContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const handle = input.handle();
  const job = findJob(order, context);
  for (const part of ["run", "undo"] as const) {
    const run = job?.[part];
    if (job === undefined || run === undefined || run.end !== undefined) continue;
    const seen = await see(runners, job, run, context);
    if (seen.isAlive || seen.isUnbegun()) await endRun(job, part, seen, "halted", context);
  }
  if (job === undefined) {
    const lost = { instance: input.instance(), handle };
    for (const runner of eachOf(runners)) await runner.endAll(lost, context);
  }
  return { handle, message: "ended until the agent runs again" };
}

async function see(runners: Runners, job: Job, run: Run, context: DriverContext): Promise<SeenRun> {
  return (await runnerOf(runners, job).look([job], context)).see(job, run);
}

async function endWhatRuns(runners: Runners, job: Job, context: DriverContext): Promise<Job> {
  if (job.run === undefined) return job;
  const seen = await see(runners, job, job.run, context);
  if (!seen.isAlive) return seen.isUnbegun() ? job : keep({ ...job, hasBegun: true }, context);
  const ended = await endRun(job, "run", seen, "cancelled", context);
  return keep({ ...ended, hasBegun: true }, context);
}

async function settledJob(
  runners: Runners,
  job: Job,
  order: StepOrder,
  context: StepContext,
): Promise<Job> {
  if (job.run === undefined || job.run.end !== undefined) return job;
  const seen = await see(runners, job, job.run, context);
  const { spec } = await wantedOf(order, context);
  return settleRun(job, "run", seen, renderedSpecOf(spec), context);
}

async function wantedOf(order: StepOrder, context: StepContext): Promise<Wanted> {
  return await context.wanted(inputOf(order).digest());
}

/** As it is written down, or written down now. */
function jobOf(order: StepOrder, wanted: Wanted, context: StepContext): Job {
  const input = inputOf(order);
  const known = findJob(order, context);
  if (known !== undefined) return known;
  return keep(
    newJob(wanted, input.handle(), input.generation(), specOf(wanted.spec), context.clock.now()),
    context,
  );
}

function findJob(order: StepOrder, context: DriverContext): Job | undefined {
  const input = inputOf(order);
  return readJob(jobDir(context, input.instance(), input.handle()));
}
