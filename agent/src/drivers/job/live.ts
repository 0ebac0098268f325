/** A job in the words of the driver contract: its phase, one line about it, and what its plans need to know. */
import type { JsonObject, Live } from "../driver.ts";
import { generationOf } from "../host-process/ends.ts";
import { endOf } from "./ending.ts";
import { type Job, OUTCOMES } from "./ledger.ts";
import type { Standing } from "./next.ts";
import type { Look, StandingRun } from "./runner.ts";
import { standingOf } from "./standing.ts";

export function liveOf(job: Job, look: Look<StandingRun>): Live {
  const seen = job.run && look.see(job, job.run);
  const standing = seen && standingOf(seen);
  const isOver = standing !== undefined && OUTCOMES.some((each) => each === standing.phase);
  const message = seen !== undefined && isOver ? endOf(seen).message : waiting(job, standing);
  const phase = phaseOf(job, standing);
  return {
    key: { instanceId: job.instance, resourceId: job.resource },
    handle: job.handle,
    digest: job.digest,
    generation: generationOf(job.generation),
    ...{ phase, message },
    outputs: job.outputs,
    startedAt: job.beganAt,
    restarts: 0,
    facts: factsOf(job, standing),
    ...(phase === "exited" && { exitedAt: standing?.endedAt ?? job.beganAt }),
  };
}

function phaseOf(job: Job, standing: Standing | undefined): Live["phase"] {
  if (job.undo !== undefined) return "stopping";
  switch (standing?.phase) {
    case undefined:
    case "done":
      return "idle";
    case "running":
      return job.run?.ending === undefined ? "running" : "stopping";
    case "unbegun":
      return "starting";
    default:
      // What comes after a commit and goes wrong is told, and takes nothing from what serves.
      return job.when === "after" || job.when === "schedule" ? "idle" : "exited";
  }
}

function waiting({ isRecalled, undo }: Job, standing: Standing | undefined): string {
  if (undo !== undefined) return "is being undone";
  if (isRecalled) return "was done before; the record of it was lost";
  if (standing === undefined) return "waits for its time";
  const how = standing.try > 1 ? `, try ${standing.try}` : "";
  return standing.phase === "running" ? `runs${how}` : `begins${how}`;
}

function factsOf(job: Job, standing: Standing | undefined): JsonObject {
  const { runs, run, isRecalled, when, effect } = job;
  const isSettled = run?.end !== undefined;
  return {
    ...{ runs, isSettled, when, effect },
    isOver: isRecalled || job.undo !== undefined,
    ...(standing !== undefined && { run: { ...standing } }),
  };
}

export type JobFacts = Readonly<{
  when: Job["when"];
  effect: Job["effect"];
  runs: number;
  /** How its newest run ended is written down. */
  isSettled: boolean;
  isOver: boolean;
  run: Standing | undefined;
}>;

/** Of what this driver's own look has found. */
export function factsIn({ facts }: Live): JobFacts {
  return {
    when: (facts?.["when"] ?? "change") as Job["when"],
    effect: (facts?.["effect"] ?? "irreversible") as Job["effect"],
    runs: Number(facts?.["runs"] ?? 0),
    isSettled: facts?.["isSettled"] === true,
    isOver: facts?.["isOver"] === true,
    run: facts?.["run"] as Standing | undefined,
  };
}
