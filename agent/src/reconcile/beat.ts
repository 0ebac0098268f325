/** The beat that loops have in common while they have nothing of their own to wait for, so that they share one look. */
import type { Doorbell } from "@holdfast/shared/doorbell.ts";
import type { Work } from "./work.ts";

/** A timer may come a little before its time. */
const EARLY_MS = 5;

/** Since when (monotonic, ms) a look counts in the pass that follows; undefined: it was rung, or had its own time. */
export async function waitForBeat(
  { clock, intervalMs }: Pick<Work, "clock" | "intervalMs">,
  bell: Doorbell,
  waitMs: number,
): Promise<number | undefined> {
  if (waitMs < intervalMs) {
    await bell.wait(waitMs);
    return undefined;
  }
  const now = clock.monotonic();
  const beat = now + intervalMs - (now % intervalMs);
  const wasRung = await bell.wait(beat - now);
  return wasRung ? undefined : beat - EARLY_MS;
}
