/** After the commit: publish the outputs, then let the old copies go. Nothing here can fail the attempt. */
import { causeChain } from "@holdfast/shared/fault.ts";
import { publishOutputs } from "./publish.ts";
import type { AttemptRun } from "./run.ts";
import { Interrupted } from "./work.ts";

/** Ends the attempt as COMMITTED, or returns at once when the agent shuts down. */
export async function cleanUp(run: AttemptRun): Promise<void> {
  const { work } = run;
  const outputs = await publishOutputs(work).catch((error: unknown) => {
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
  run.end(outputs === undefined ? {} : { outputs });
}
