/**
 * Whether a job is as it should be: done, or waiting for its time. One that runs after a commit and failed is told and
 * takes nothing from what serves.
 */
import type { DriverContext, Health, Live, Wanted } from "../driver.ts";
import { findCopies } from "../host-process/copies.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { tendLogs } from "../logs.ts";
import { watch } from "./carry-out.ts";
import { jobDir, readJob, runHandle } from "./ledger.ts";
import { factsIn } from "./live.ts";
import { type JobSpec, specOf } from "./spec.ts";
import { seenRun } from "./standing.ts";

export async function healthOf(
  host: ProgramHost,
  live: Live,
  wanted: Wanted,
  context: DriverContext,
): Promise<Health> {
  const { phase, message } = live;
  const spec = specOf(wanted.spec);
  if (phase === "running") await watchRun(host, live, spec, context);
  const { run, when } = factsIn(live);
  const isBeside = when === "schedule" || when === "after";
  if (phase === "idle" || (isBeside && phase === "running")) {
    const isBad = run?.phase === "failed" || run?.phase === "unknown";
    const ready: Health = { state: "ready", alive: true, message };
    return isBad ? { ...ready, caveat: `its last run ${message}` } : ready;
  }
  if (phase === "exited") return { state: "failed", alive: false, message };
  return { state: "starting", alive: true, message };
}

/** Nobody else looks at a run that no step waits for. */
async function watchRun(
  host: ProgramHost,
  { key, handle }: Live,
  spec: JobSpec,
  context: DriverContext,
): Promise<void> {
  const job = readJob(jobDir(context, key.instanceId, handle));
  if (job?.run === undefined) return;
  const seen = seenRun(job, job.run, await findCopies(host, context), context);
  await watch(host, seen, spec, context);
  tendLogs(context.directories(key.instanceId), runHandle(handle, job.run.number), context);
}
