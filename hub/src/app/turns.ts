/**
 * Turns by key: what would only wait for one and the same row of the database waits here instead, in order and
 * without one of the few connections, so that a storm on one plan leaves the rest of the hub alone. Other hub
 * processes are kept apart by the row's lock itself.
 */
import { Fault } from "@holdfast/shared/fault.ts";

/** Of one key; more than are served before most callers give up. */
export const TURN_WAITERS_MAX = 256;
const TURN_RETRY_MS = 5_000;

export class Turns {
  readonly #lines = new Map<string, { last: Promise<unknown>; waiting: number }>();

  /** Runs `work` after all that came before it under the same key. Throws RESOURCE_EXHAUSTED `TOO_MANY_AT_ONCE`. */
  async take<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(key) ?? { last: Promise.resolve(), waiting: 0 };
    if (line.waiting >= TURN_WAITERS_MAX) throw tooMany(line.waiting);
    const mine = line.last.then(() => {
      if (signal.aborted) throw new Fault("CANCELLED", "CALLER_GONE", "the caller has gone");
      return work();
    });
    this.#lines.set(key, line);
    line.last = mine.catch(() => undefined);
    line.waiting++;
    try {
      return await mine;
    } finally {
      line.waiting--;
      if (line.waiting === 0) this.#lines.delete(key);
    }
  }

  /** Keys that somebody has a turn under. */
  get size(): number {
    return this.#lines.size;
  }
}

function tooMany(used: number): Fault {
  return new Fault(
    "RESOURCE_EXHAUSTED",
    "TOO_MANY_AT_ONCE",
    `${used} creations wait for the same plan; allowed: ${TURN_WAITERS_MAX}; try again in ${TURN_RETRY_MS / 1_000} s`,
    {
      retryAfterMs: TURN_RETRY_MS,
      metadata: {
        limit: String(TURN_WAITERS_MAX),
        used: String(used),
        reset_ms: String(TURN_RETRY_MS),
      },
    },
  );
}
