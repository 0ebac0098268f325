/**
 * How the runs of jobs stand, from three witnesses: what was written down, what its supervisor has noted, and what the
 * kernel shows. Changes nothing.
 */

import type { DriverContext } from "../driver.ts";
import { resourceOf } from "../handles.ts";
import type { Copy } from "../host-process/copies.ts";
import { ticksToMs, uptimeMs } from "../host-process/proc.ts";
import { describeUnseen, isForWantOfMemory } from "./ending.ts";
import { type Job, jobDir, jobHandleOf, type Run, type RunEnd, runHandle } from "./ledger.ts";
import type { Standing } from "./next.ts";
import { readNotes } from "./supervisor.ts";

/** A run with what is left of it. */
export type SeenRun = Readonly<{ run: Run; runDir: string; copy: Copy | undefined }>;

export function seenRun(
  job: Pick<Job, "instance" | "handle">,
  run: Run,
  copies: readonly Copy[],
  context: DriverContext,
): SeenRun {
  const name = runHandle(job.handle, run.number);
  const copy = copies.find(({ key, handle }) => handle === name && key.instanceId === job.instance);
  return { run, copy, runDir: jobDir(context, job.instance, name) };
}

/** Also while only children of it are left: it is over when all of it is. */
export function isAlive({ copy }: Pick<SeenRun, "copy">): boolean {
  return copy !== undefined && (copy.running || copy.members.length > 0);
}

/** Its program has not run, for certain. */
export function isUnbegun({ run, runDir }: SeenRun): boolean {
  return !run.isLaunched || readNotes(runDir)?.isBegun === false;
}

/** Of a run that is not alive and has begun: as it was written down, or as it is found now. */
export function endOf(seen: SeenRun, context: DriverContext): RunEnd {
  const { run, runDir } = seen;
  if (run.end !== undefined) return run.end;
  const notes = readNotes(runDir);
  const at = notes?.status === undefined ? context.clock.now() : notes.at;
  const message = describeUnseen(seen, notes, context);
  // Nothing is wrong with it: like one that was cut off with its host.
  if (run.ending === "halted") return { at, outcome: "unknown", message };
  if (run.ending !== undefined || isForWantOfMemory(seen.copy)) {
    return { at, outcome: "failed", message };
  }
  if (notes?.status === undefined) return { at, outcome: "unknown", message };
  return { at, outcome: notes.status === 0 ? "done" : "failed", message };
}

/** In the words of the rules. */
export function standingOf(seen: SeenRun, procDir: string, context: DriverContext): Standing {
  const { run, copy } = seen;
  const { number, dueAt } = run;
  const known = { number, try: run.try, ...(dueAt !== undefined && { dueAt }) };
  if (run.end !== undefined) {
    return { ...known, phase: run.end.outcome, beganAt: run.beganAt, endedAt: run.end.at };
  }
  if (isAlive(seen)) {
    const overuse = copy?.health?.overuse;
    const beganAt = beganOf(seen, procDir, context);
    return { ...known, phase: "running", beganAt, ...(overuse !== undefined && { overuse }) };
  }
  if (isUnbegun(seen)) return { ...known, phase: "unbegun", beganAt: run.beganAt };
  const end = endOf(seen, context);
  return { ...known, phase: end.outcome, beganAt: run.beganAt, endedAt: end.at };
}

/** By the time since boot, so that a jump of the clock neither cuts it off nor lets it run for ever. */
function beganOf({ run, copy }: SeenRun, procDir: string, { clock }: DriverContext): number {
  if (copy?.process === undefined || copy.ofEarlierBoot) return run.beganAt;
  const ageMs = uptimeMs(procDir) - ticksToMs(copy.process.startTicks);
  return Math.round(clock.now() - Math.max(0, ageMs));
}

/** Runs whose job nobody has written down, or not any more: by their marks they are found all the same. */
export function lostJobs(jobs: readonly Job[], copies: readonly Copy[]): readonly Job[] {
  const known = new Set(jobs.map(({ instance, handle }) => `${instance}/${handle}`));
  const lost = copies.filter(({ key, handle, running }) => {
    return running && !known.has(`${key.instanceId}/${jobHandleOf(handle)}`);
  });
  return lost.flatMap(({ key, handle, digest, generation, startedAt }): Job[] => {
    if (resourceOf(handle, "job") === undefined) return [];
    const number = Number(/j(\d+)$/.exec(handle)?.[1]);
    return [
      {
        ...{ instance: key.instanceId, resource: key.resourceId, digest, generation },
        handle: jobHandleOf(handle),
        ...{ when: "change", effect: "irreversible" },
        ...{ beganAt: startedAt, runs: number + 1 },
        run: { number, try: 1, beganAt: startedAt, isLaunched: true },
        ...{ hasBegun: true, isRecalled: false, outputs: {}, said: [] },
      },
    ];
  });
}
