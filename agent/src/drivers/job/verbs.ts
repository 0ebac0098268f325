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
import { findCopies } from "../host-process/copies.ts";
import { clearAway, endCopy } from "../host-process/end.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { removeRemains } from "../host-process/remains.ts";
import { carryOut } from "./carry-out.ts";
import { inputOf } from "./input.ts";
import { type Job, jobDir, jobHandleOf, readJob, runHandle, writeJob } from "./ledger.ts";
import { beginRun, endRun, newJob, settleRun } from "./run.ts";
import { renderedSpecOf, specOf } from "./spec.ts";
import { isAlive, isUnbegun, seenRun } from "./standing.ts";

/** Until its end, with all its tries. Throws FAILED_PRECONDITION `JOB_FAILED`, ABORTED `JOB_END_UNKNOWN`. */
export async function runJob(
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const known = jobOf(order, wanted, context);
  const { job, end } = await carryOut(host, known, { wanted, spec, part: "run" }, context);
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
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const known = findJob(order, context);
  if (known === undefined) return await forgetJob(host, order, context);
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const job = await endWhatRuns(host, known, context);
  if (!job.hasBegun || spec.undo === undefined) return await forgetJob(host, order, context);
  // One that failed before is tried once more.
  const { undo, ...rest } = job;
  const isFailed = undo?.end !== undefined && undo.end.outcome !== "done";
  const begun = isFailed ? rest : job;
  const { end } = await carryOut(host, begun, { wanted, spec, part: "undo" }, context);
  if (end.outcome !== "done") {
    const message = `${order.resourceId}: its undo ${end.message}`;
    throw new Fault("FAILED_PRECONDITION", "JOB_UNDO_FAILED", message);
  }
  await forgetJob(host, order, context);
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
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await wantedOf(order, context);
  const spec = renderedSpecOf(wanted.spec);
  const job = await settledJob(host, jobOf(order, wanted, context), order, context);
  const { handle } = job;
  const number = input.number();
  if (job.run !== undefined && job.run.number >= number) {
    const seen = seenRun(job, job.run, await findCopies(host, context), context);
    if (job.run.number > number || isAlive(seen) || !isUnbegun(seen)) {
      return { handle, message: "was begun before" };
    }
  }
  if (job.run !== undefined && job.run.number < number) removeRun(job, job.run.number, context);
  const dueAt = input.dueAt();
  const run = { number, try: input.try(), ...(dueAt !== undefined && { dueAt }) };
  await beginRun(host, job, { wanted, spec, part: "run", run }, context);
  return { handle, message: `run ${number} begun` };
}

/** Ends a run of a schedule before its own end. */
export async function stopRun(
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const job = findJob(order, context);
  if (job?.run === undefined || job.run.number !== input.number()) {
    return { handle: input.handle(), message: "was over already" };
  }
  const seen = seenRun(job, job.run, await findCopies(host, context), context);
  const isOver = !isAlive(seen);
  const ended = isOver ? job : await endRun(host, job, "run", seen, input.why(), context);
  const settled = await settledJob(host, ended, order, context);
  return { handle: job.handle, message: settled.run?.end?.message ?? "is over" };
}

/** Writes down how the newest run ended. */
export async function settleJob(
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const job = findJob(order, context);
  if (job === undefined) return { handle: inputOf(order).handle(), message: "is gone" };
  const settled = await settledJob(host, job, order, context);
  return { handle: job.handle, message: settled.run?.end?.message ?? "is not over" };
}

/** Ends whatever of it runs and removes all of it but its logs and its last readings. */
export async function forgetJob(
  host: ProgramHost,
  order: StepOrder,
  context: DriverContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const [instanceId, handle] = [input.instance(), input.handle()];
  const copies = (await findCopies(host, context)).filter((copy) => {
    return copy.key.instanceId === instanceId && jobHandleOf(copy.handle) === handle;
  });
  for (const copy of copies) {
    await endCopy(host, copy, context);
    await clearAway(copy, context);
  }
  const job = findJob(order, context);
  for (const number of [job?.run?.number, job?.undo?.number]) {
    if (job !== undefined && number !== undefined) removeRun(job, number, context);
  }
  rmSync(jobDir(context, instanceId, handle), { recursive: true, force: true });
  const message = job === undefined && copies.length === 0 ? "was gone already" : "forgotten";
  return { handle, message };
}

/** Ends whatever of it runs; it is found as one that was cut off, whether or not it is known what it was. */
export async function haltJob(
  host: ProgramHost,
  order: StepOrder,
  context: DriverContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const handle = input.handle();
  const copies = await findCopies(host, context);
  const job = findJob(order, context);
  for (const part of ["run", "undo"] as const) {
    const run = job?.[part];
    if (job === undefined || run === undefined || run.end !== undefined) continue;
    const seen = seenRun(job, run, copies, context);
    if (isAlive(seen)) await endRun(host, job, part, seen, "halted", context);
  }
  for (const copy of copies) {
    const isOwn = copy.key.instanceId === input.instance() && jobHandleOf(copy.handle) === handle;
    if (job === undefined && isOwn) await endCopy(host, copy, context);
  }
  return { handle, message: "ended until the agent runs again" };
}

async function endWhatRuns(host: ProgramHost, job: Job, context: DriverContext): Promise<Job> {
  if (job.run === undefined) return job;
  const seen = seenRun(job, job.run, await findCopies(host, context), context);
  if (!isAlive(seen)) return isUnbegun(seen) ? job : keep({ ...job, hasBegun: true }, context);
  const ended = await endRun(host, job, "run", seen, "cancelled", context);
  return keep({ ...ended, hasBegun: true }, context);
}

async function settledJob(
  host: ProgramHost,
  job: Job,
  order: StepOrder,
  context: StepContext,
): Promise<Job> {
  if (job.run === undefined || job.run.end !== undefined) return job;
  const seen = seenRun(job, job.run, await findCopies(host, context), context);
  const { spec } = await wantedOf(order, context);
  return settleRun(host, job, "run", seen, renderedSpecOf(spec), context);
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

function keep(job: Job, context: DriverContext): Job {
  writeJob(jobDir(context, job.instance, job.handle), job);
  return job;
}

function removeRun(job: Job, number: number, context: DriverContext): void {
  removeRemains(jobDir(context, job.instance, runHandle(job.handle, number)));
}
