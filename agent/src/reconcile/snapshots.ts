/**
 * What every driver finds on this host, looked at once for all instances. A look that fails or hangs is
 * "unknown", which is never taken for "nothing there".
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Driver, DriverContext, Live } from "../drivers/driver.ts";

/** All may use one look of this age, as long as nothing was done there since. */
export const SNAPSHOT_AGE_MS_MAX = 500;
/** A look that takes longer has failed. */
export const OBSERVE_MS_MAX = 10_000;

type Look = Readonly<{ startedAt: number; lives: Promise<readonly Live[]> }>;

export class Snapshots {
  readonly #clock: Clock;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #context: DriverContext;
  readonly #last = new Map<string, Look>();
  readonly #next = new Map<string, Promise<readonly Live[]>>();

  constructor(clock: Clock, drivers: ReadonlyMap<string, Driver>, context: DriverContext) {
    this.#clock = clock;
    this.#drivers = drivers;
    this.#context = context;
  }

  /** Copies of this kind, from a look that began at most SNAPSHOT_AGE_MS_MAX ago. */
  async recent(kind: string): Promise<readonly Live[]> {
    const last = this.#last.get(kind);
    const isRecent =
      last !== undefined && this.#clock.monotonic() - last.startedAt <= SNAPSHOT_AGE_MS_MAX;
    return await (isRecent ? last.lives : this.fresh(kind));
  }

  /** From a look that began after this call; all who ask while one is under way share the one after it. */
  async fresh(kind: string): Promise<readonly Live[]> {
    const next = this.#next.get(kind);
    if (next !== undefined) return await next;
    const current = this.#last.get(kind)?.lives ?? Promise.resolve([]);
    const look = current
      .catch(() => [])
      .then(() => {
        this.#next.delete(kind);
        const lives = this.#look(kind);
        this.#last.set(kind, { startedAt: this.#clock.monotonic(), lives });
        return lives;
      });
    this.#next.set(kind, look);
    return await look;
  }

  /** Something was just done there: what was seen before does not count any more. */
  spoil(kind: string): void {
    const last = this.#last.get(kind);
    if (last !== undefined) this.#last.set(kind, { ...last, startedAt: Number.NEGATIVE_INFINITY });
  }

  async #look(kind: string): Promise<readonly Live[]> {
    const driver = this.#drivers.get(kind);
    if (driver === undefined) {
      throw new Fault("FAILED_PRECONDITION", "DRIVER_MISSING", `no driver for kind ${kind}`);
    }
    try {
      return await bounded(this.#clock, OBSERVE_MS_MAX, `observe ${kind}`, (signal) =>
        driver.observe({ ...this.#context, signal }),
      );
    } catch (error) {
      if (error instanceof Fault) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new Fault("UNAVAILABLE", "OBSERVE_FAILED", `observe ${kind}: ${message}`, {
        cause: error,
      });
    }
  }
}

/**
 * The result of `work`, or DEADLINE_EXCEEDED `<STEP>_TIMEOUT` after `msMax`; its signal is then aborted.
 * An abort of `parent` is passed on.
 */
export async function bounded<Result>(
  clock: Clock,
  msMax: number,
  what: string,
  work: (signal: AbortSignal) => Promise<Result>,
  parent?: AbortSignal,
): Promise<Result> {
  const stop = new AbortController();
  const done = new AbortController();
  const signal = parent === undefined ? stop.signal : AbortSignal.any([stop.signal, parent]);
  const late = clock.sleep(msMax, done.signal).then(() => {
    if (done.signal.aborted) return;
    stop.abort();
    throw new Fault("DEADLINE_EXCEEDED", "TIMEOUT", `${what}: no answer within ${msMax} ms`);
  });
  try {
    return (await Promise.race([work(signal), late])) as Result;
  } finally {
    done.abort();
  }
}
