/**
 * Whether a job is as it should be: done, or waiting for its time. One that runs after a commit and failed is told and
 * takes nothing from what serves.
 */
import type { DriverContext, Health, Live, Wanted } from "../driver.ts";
import { jobDir, readJob } from "./ledger.ts";
import { factsIn } from "./live.ts";
import { type Runners, runnerOf } from "./runner.ts";
import { type JobSpec, specOf } from "./spec.ts";

export async function healthOf(
  runners: Runners,
  live: Live,
  wanted: Wanted,
  context: DriverContext,
): Promise<Health> {
  const { phase, message } = live;
  const spec = specOf(wanted.spec);
  if (phase === "running") await watchRun(runners, live, spec, context);
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
  runners: Runners,
  { key, handle }: Live,
  spec: JobSpec,
  context: DriverContext,
): Promise<void> {
  const job = readJob(jobDir(context, key.instanceId, handle));
  if (job?.run === undefined) return;
  const look = await runnerOf(runners, job).look([job], context);
  await look.see(job, job.run).watch(spec);
}
