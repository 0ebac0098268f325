/** Waits for a condition with a deadline: the only way in which these tests let time pass. */
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 50;

/** The first answer of `look` that is not undefined or false. Throws with `what` after `msMax`. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  msMax = 90_000,
): Promise<T> {
  const deadline = performance.now() + msMax;
  for (let last: unknown; ; ) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`not within ${msMax} ms: ${what}`, { cause: last });
    }
    await sleep(POLL_MS);
  }
}
