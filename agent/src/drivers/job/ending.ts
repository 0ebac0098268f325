/** How a run ended, in one line for people. */
import type { Ending, Outcome, Run, RunEnd } from "./ledger.ts";
import type { FoundEnd, StandingRun } from "./runner.ts";
import { statusText } from "./supervisor.ts";

const ENDED_BY: Record<Ending, string> = {
  deadline: "was ended at its deadline",
  limits: "was ended for passing a limit",
  cancelled: "was cancelled",
  replaced: "was ended, as its next time had come",
  halted: "was ended by a halt while it ran: whether it did its work is not known",
};

/** Of a run that is not alive and has begun: as it was written down, or as it is found now. */
export function endOf(seen: StandingRun): RunEnd {
  const { run } = seen;
  if (run.end !== undefined) return run.end;
  const found = seen.found();
  const how = howEnded(run, found, seen.overuse);
  const message = found.said === "" ? how : `${how}: ${found.said}`;
  return { at: found.at, outcome: outcomeOf(run, found), message };
}

function outcomeOf({ ending }: Run, found: FoundEnd): Outcome {
  // Nothing is wrong with it: like one that was cut off with its host.
  if (ending === "halted") return "unknown";
  if (ending !== undefined || found.wantOfMemory !== undefined) return "failed";
  if (found.status === undefined) return "unknown";
  return found.status === 0 ? "done" : "failed";
}

function howEnded({ ending }: Run, found: FoundEnd, overuse: string | undefined): string {
  const { status, wantOfMemory, lost } = found;
  if (ending === "limits" && overuse !== undefined) return overuse;
  if (ending !== undefined) return ENDED_BY[ending];
  const memory = wantOfMemory === undefined ? "" : ` for want of memory (${wantOfMemory})`;
  if (status !== undefined) return `ended with ${statusText(status)}${memory}`;
  if (memory !== "") return `was ended by the kernel${memory}`;
  return `${lost}: whether it did its work is not known`;
}
