/**
 * After the commit: publish the outputs, then let the old copies go. Nothing here can fail the attempt. Where the host
 * does not let them be published, whoever asks is still sent to the old copies, so those stay until it does.
 */
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { publishOutputs } from "./publish.ts";
import type { AttemptRun } from "./run.ts";
import { Interrupted } from "./work.ts";

/** Ends the attempt as COMMITTED, or returns at once when the agent shuts down. */
export async function cleanUp(run: AttemptRun): Promise<void> {
  const { work } = run;
  const outputs = await publishOutputs(work).catch((error: unknown) => {
    // A resource that is down at this moment is brought back later, with what it then gives out.
    if (!(error instanceof Fault) && !(error instanceof Interrupted)) {
      run.say(`outputs not published: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    }
    work.log.warn({ error: causeChain(error) }, "outputs not published");
    return undefined;
  });
  const left = run.entries.filter(({ state }) => state === "PLANNED" || state === "BEGUN");
  for (const { position, step } of left) {
    try {
      await run.runPlanned(position, step);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (error.kind === "shutdown") return;
      // Something newer is wanted: its own plan sees the copies that are still there.
      if (error.kind === "superseded") break;
      work.log.warn({ step: step.id, error: error.message }, "left over");
    }
  }
  run.end({ message: "", ...(outputs !== undefined && { outputs }) });
}
