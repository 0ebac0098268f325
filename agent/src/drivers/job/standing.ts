/**
 * How the runs of jobs stand, from what was written down and what their runner finds. Changes nothing.
 */
import { resourceOf } from "../handles.ts";
import { endOf } from "./ending.ts";
import { type Job, jobHandleOf } from "./ledger.ts";
import type { Standing } from "./next.ts";
import type { MarkedRun, StandingRun } from "./runner.ts";

/** In the words of the rules. */
export function standingOf(seen: StandingRun): Standing {
  const { run, overuse } = seen;
  const { number, dueAt } = run;
  const known = { number, try: run.try, ...(dueAt !== undefined && { dueAt }) };
  if (run.end !== undefined) {
    return { ...known, phase: run.end.outcome, beganAt: run.beganAt, endedAt: run.end.at };
  }
  if (seen.isAlive) {
    const beganAt = seen.beganAt();
    return { ...known, phase: "running", beganAt, ...(overuse !== undefined && { overuse }) };
  }
  if (seen.isUnbegun()) return { ...known, phase: "unbegun", beganAt: run.beganAt };
  const end = endOf(seen);
  return { ...known, phase: end.outcome, beganAt: run.beganAt, endedAt: end.at };
}

/** Runs whose job nobody has written down, or not any more: by their marks they are found all the same. */
export function lostJobs(
  jobs: readonly Job[],
  runs: readonly MarkedRun[],
  runsAs: Job["runsAs"],
): readonly Job[] {
  const known = new Set(jobs.map(({ instance, handle }) => `${instance}/${handle}`));
  const lost = runs.filter(({ key, handle, running }) => {
    return running && !known.has(`${key.instanceId}/${jobHandleOf(handle)}`);
  });
  return lost.flatMap(({ key, handle, digest, generation, startedAt }): Job[] => {
    if (resourceOf(handle, "job") === undefined) return [];
    const number = Number(/j(\d+)$/.exec(handle)?.[1]);
    return [
      {
        ...{ instance: key.instanceId, resource: key.resourceId, digest, generation, runsAs },
        handle: jobHandleOf(handle),
        ...{ when: "change", effect: "irreversible" },
        ...{ beganAt: startedAt, runs: number + 1 },
        run: { number, try: 1, beganAt: startedAt, isLaunched: true },
        ...{ hasBegun: true, isRecalled: false, outputs: {}, said: [] },
      },
    ];
  });
}
