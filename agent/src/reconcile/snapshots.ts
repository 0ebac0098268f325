/**
 * What every driver finds on this host, looked at once for all instances. A look that fails or hangs is
 * "unknown", which is never taken for "nothing there".
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Driver, DriverContext, Live, LookScope } from "../drivers/driver.ts";

/** All may use one look of this age, as long as nothing was done there since. */
export const SNAPSHOT_AGE_MS_MAX = 500;
/** A look that takes longer has failed. */
export const OBSERVE_MS_MAX = 10_000;

/** How long looks at what is recorded suffice; only a look at everything finds what has lost its record. */
export const RECORDED_ONLY_MS_MAX = 30_000;

/** A finished look at everything. */
export type WholeLook = Readonly<{
  /** Monotonic, ms. */
  startedAt: number;
  all: readonly Live[];
  of(instanceId: string, resourceId: string): readonly Live[];
}>;

type Look = Readonly<{ startedAt: number; lives: Promise<readonly Live[]>; byInstance: Index }>;
/** Made when it is first asked for. */
type Index = () => Promise<ReadonlyMap<string, readonly Live[]>>;

export class Snapshots {
  readonly #clock: Clock;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #context: DriverContext;
  readonly #last = new Map<string, Look>();
  readonly #next = new Map<string, Promise<Look>>();
  /** When everything was last looked at, by kind. */
  readonly #lookedAt = new Map<string, number>();
  readonly #whole = new Map<string, WholeLook>();

  constructor(clock: Clock, drivers: ReadonlyMap<string, Driver>, context: DriverContext) {
    this.#clock = clock;
    this.#drivers = drivers;
    this.#context = context;
  }

  /**
   * Copies of this kind, from a look that began at most SNAPSHOT_AGE_MS_MAX ago, or after `since` (monotonic): all who
   * look after their instances at one beat share one look, however long they take together.
   */
  async recent(kind: string, scope: LookScope = "all", since?: number): Promise<readonly Live[]> {
    return await (await this.#lookAt(kind, scope, since)).lives;
  }

  /** As recent, of one instance. */
  async of(
    instanceId: string,
    kind: string,
    scope: LookScope = "all",
    since?: number,
  ): Promise<readonly Live[]> {
    const lives = await (await this.#lookAt(kind, scope, since)).byInstance();
    return lives.get(instanceId) ?? [];
  }

  async #lookAt(kind: string, scope: LookScope, since: number | undefined): Promise<Look> {
    if (scope === "recorded" && this.#isAllDue(kind)) return await this.#lookAt(kind, "all", since);
    const last = this.#recentOf(kind, "all", since) ?? this.#recentOf(kind, scope, since);
    return last ?? (await this.#freshLook(kind, scope));
  }

  /** From a look that began after this call; all who ask while one is under way share the one after it. */
  async fresh(kind: string, scope: LookScope = "all"): Promise<readonly Live[]> {
    return await (await this.#freshLook(kind, scope)).lives;
  }

  /** As fresh, of one instance. */
  async freshOf(
    instanceId: string,
    kind: string,
    scope: LookScope = "all",
  ): Promise<readonly Live[]> {
    const lives = await (await this.#freshLook(kind, scope)).byInstance();
    return lives.get(instanceId) ?? [];
  }

  async #freshLook(kind: string, scope: LookScope): Promise<Look> {
    const key = keyOf(kind, scope);
    const next = this.#next.get(key);
    if (next !== undefined) return await next;
    const current = this.#last.get(key)?.lives ?? Promise.resolve([]);
    const look = current
      .catch(() => [])
      .then(() => {
        this.#next.delete(key);
        const lives = this.#look(kind, scope);
        const startedAt = this.#clock.monotonic();
        const taken = { startedAt, lives, byInstance: indexOf(lives) };
        this.#last.set(key, taken);
        if (scope === "all") this.#lookedAt.set(kind, startedAt);
        // Who asked waits for it; who comes later has its own try.
        return lives.then((all) => {
          if (scope === "all") this.#whole.set(kind, wholeLook(startedAt, all));
          return taken;
        });
      });
    this.#next.set(key, look);
    return await look;
  }

  /** The last look at everything that has ended, however long ago; undefined before the first. */
  whole(kind: string): WholeLook | undefined {
    return this.#whole.get(kind);
  }

  /** Something was just done there: what was seen before does not count any more. */
  spoil(kind: string): void {
    for (const scope of SCOPES) {
      const key = keyOf(kind, scope);
      const last = this.#last.get(key);
      if (last !== undefined) this.#last.set(key, { ...last, startedAt: Number.NEGATIVE_INFINITY });
    }
  }

  #recentOf(kind: string, scope: LookScope, since: number | undefined): Look | undefined {
    const last = this.#last.get(keyOf(kind, scope));
    if (last === undefined) return undefined;
    const oldest = this.#clock.monotonic() - SNAPSHOT_AGE_MS_MAX;
    return last.startedAt >= Math.min(oldest, since ?? oldest) ? last : undefined;
  }

  #isAllDue(kind: string): boolean {
    const lookedAt = this.#lookedAt.get(kind) ?? Number.NEGATIVE_INFINITY;
    return this.#clock.monotonic() - lookedAt > RECORDED_ONLY_MS_MAX;
  }

  async #look(kind: string, scope: LookScope): Promise<readonly Live[]> {
    const driver = this.#drivers.get(kind);
    if (driver === undefined) {
      throw new Fault("FAILED_PRECONDITION", "DRIVER_MISSING", `no driver for kind ${kind}`);
    }
    try {
      return await bounded(this.#clock, OBSERVE_MS_MAX, `observe ${kind}`, (signal) =>
        driver.observe({ ...this.#context, signal }, scope),
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

function indexOf(lives: Promise<readonly Live[]>): Index {
  let index: ReturnType<Index> | undefined;
  return () => {
    index ??= lives.then((all) => Map.groupBy(all, ({ key }) => key.instanceId));
    return index;
  };
}

const SCOPES = ["all", "recorded"] as const;

function wholeLook(startedAt: number, all: readonly Live[]): WholeLook {
  const byResource = Map.groupBy(all, ({ key }) => `${key.instanceId}/${key.resourceId}`);
  const of = (instanceId: string, resourceId: string) =>
    byResource.get(`${instanceId}/${resourceId}`) ?? [];
  return { startedAt, all, of };
}

function keyOf(kind: string, scope: LookScope): string {
  return `${scope} ${kind}`;
}

/** Nobody reads why a timer is not needed any more; an abort without a reason would make an error each time. */
const OVER = "over";

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
  const passOn = () => stop.abort(parent?.reason);
  if (parent?.aborted) passOn();
  parent?.addEventListener("abort", passOn, { once: true });
  const late = clock.sleep(msMax, done.signal).then(() => {
    if (done.signal.aborted) return;
    stop.abort();
    throw new Fault("DEADLINE_EXCEEDED", "TIMEOUT", `${what}: no answer within ${msMax} ms`);
  });
  try {
    return (await Promise.race([work(stop.signal), late])) as Result;
  } finally {
    parent?.removeEventListener("abort", passOn);
    done.abort(OVER);
  }
}
