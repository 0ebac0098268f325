/**
 * What every driver finds on this host: looked at once for all instances at a beat, and of one instance while something
 * is done to it. A look that fails or hangs is "unknown", which is never taken for "nothing there".
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { SharedLooks } from "@holdfast/shared/shared-looks.ts";
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

type Look = Readonly<{
  /** Monotonic, ms. */
  startedAt: number;
  lives: Promise<readonly Live[]>;
  of(instanceId: string): Promise<readonly Live[]>;
}>;

/** What a look is at: one kind, everything of it or what is recorded, of all instances or of one. */
type View = Readonly<{ kind: string; scope: LookScope; instanceId?: string }>;

export class Snapshots {
  readonly #clock: Clock;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #context: DriverContext;
  /** By view, the oldest first. */
  readonly #last = new Map<string, Look>();
  readonly #looks = new SharedLooks();
  /** When something was last done to an instance or to ANY, by kind. */
  readonly #spoiledAt = new Map<string, Map<string, number>>();
  /** When everything was last looked at, by kind. */
  readonly #lookedAt = new Map<string, number>();
  readonly #whole = new Map<string, WholeLook>();

  constructor(clock: Clock, drivers: ReadonlyMap<string, Driver>, context: DriverContext) {
    this.#clock = clock;
    this.#drivers = drivers;
    this.#context = context;
  }

  /**
   * Copies of this kind, from a look at all instances that began at most SNAPSHOT_AGE_MS_MAX ago and after the last
   * thing that was done to any.
   */
  async recent(kind: string): Promise<readonly Live[]> {
    const view: View = { kind, scope: "all" };
    const last = this.#recentOf(view);
    const isGood = last !== undefined && !this.#isSpoiled(last, kind, ANY);
    return await (isGood ? last : await this.#freshLook(view)).lives;
  }

  /**
   * Copies of one instance, from a look that began at most SNAPSHOT_AGE_MS_MAX ago and after the last thing that was
   * done to it. `since` (monotonic): a look at all instances that began later is new enough, and where there is none one
   * is taken, so that all who look after their instances at one beat share it, however long they take together.
   */
  async of(
    instanceId: string,
    kind: string,
    scope: LookScope = "all",
    since?: number,
  ): Promise<readonly Live[]> {
    const due = scope === "recorded" && this.#isAllDue(kind) ? "all" : scope;
    const scopes = due === "all" ? (["all"] as const) : SCOPES;
    const own = scopes.map((each) => this.#recentOf({ kind, scope: each, instanceId }));
    const shared = scopes.map((each) => this.#recentOf({ kind, scope: each }, since));
    const isGood = (look: Look | undefined) => look && !this.#isSpoiled(look, kind, instanceId);
    const known = [...own, ...shared].find(isGood);
    if (known !== undefined) return await known.of(instanceId);
    const isFirstOfBeat = since !== undefined && shared.every((look) => look === undefined);
    return await this.#fresh({ kind, scope: due }, instanceId, !isFirstOfBeat);
  }

  /** From a look at all instances that began after this call; all who ask while one is under way share the one after it. */
  async fresh(kind: string): Promise<readonly Live[]> {
    return await (await this.#freshLook({ kind, scope: "all" })).lives;
  }

  /** As fresh, of one instance. */
  async freshOf(
    instanceId: string,
    kind: string,
    scope: LookScope = "all",
  ): Promise<readonly Live[]> {
    return await this.#fresh({ kind, scope }, instanceId, true);
  }

  async #fresh(view: View, instanceId: string, mayBeOne: boolean): Promise<readonly Live[]> {
    const isOne = mayBeOne && this.#drivers.get(view.kind)?.observeOne?.[view.scope] !== undefined;
    const look = await this.#freshLook(isOne ? { ...view, instanceId } : view);
    return await look.of(instanceId);
  }

  /** Who asked waits for it; who comes later has its own try. */
  async #freshLook(view: View): Promise<Look> {
    return await this.#looks.take(keyOf(view), async () => {
      const look = lookOf(this.#clock.monotonic(), this.#look(view));
      this.#keep(view, look);
      const all = await look.lives;
      if (isWhole(view)) this.#whole.set(view.kind, wholeLook(look.startedAt, all));
      return look;
    });
  }

  /** Of one instance only while it is recent: there may be thousands. */
  #keep(view: View, look: Look): void {
    const oldest = this.#clock.monotonic() - SNAPSHOT_AGE_MS_MAX;
    for (const [each, { startedAt }] of this.#last) {
      if (startedAt >= oldest) break;
      if (each.includes(OF_ONE)) this.#last.delete(each);
    }
    const key = keyOf(view);
    this.#last.delete(key);
    this.#last.set(key, look);
    if (isWhole(view)) this.#lookedAt.set(view.kind, look.startedAt);
  }

  /** The last look at everything that has ended, however long ago; undefined before the first. */
  whole(kind: string): WholeLook | undefined {
    return this.#whole.get(kind);
  }

  /** Something was just done to the instance: what was seen of it before does not count any more. */
  spoil(kind: string, instanceId: string): void {
    const spoiledAt = this.#spoiledAt.get(kind) ?? new Map<string, number>();
    const now = this.#clock.monotonic();
    this.#spoiledAt.set(kind, spoiledAt.set(instanceId, now).set(ANY, now));
  }

  #isSpoiled({ startedAt }: Look, kind: string, instanceId: string): boolean {
    return startedAt <= (this.#spoiledAt.get(kind)?.get(instanceId) ?? Number.NEGATIVE_INFINITY);
  }

  #recentOf(view: View, since?: number): Look | undefined {
    const last = this.#last.get(keyOf(view));
    if (last === undefined) return undefined;
    const oldest = this.#clock.monotonic() - SNAPSHOT_AGE_MS_MAX;
    return last.startedAt >= Math.min(oldest, since ?? oldest) ? last : undefined;
  }

  #isAllDue(kind: string): boolean {
    const lookedAt = this.#lookedAt.get(kind) ?? Number.NEGATIVE_INFINITY;
    return this.#clock.monotonic() - lookedAt > RECORDED_ONLY_MS_MAX;
  }

  async #look({ kind, scope, instanceId }: View): Promise<readonly Live[]> {
    const driver = this.#drivers.get(kind);
    if (driver === undefined) {
      throw new Fault("FAILED_PRECONDITION", "DRIVER_MISSING", `no driver for kind ${kind}`);
    }
    const one = instanceId === undefined ? undefined : driver.observeOne?.[scope];
    try {
      return await bounded(this.#clock, OBSERVE_MS_MAX, `observe ${kind}`, (signal) => {
        const context = { ...this.#context, signal };
        return one === undefined || instanceId === undefined
          ? driver.observe(context, scope)
          : one(instanceId, context);
      });
    } catch (error) {
      if (error instanceof Fault) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new Fault("UNAVAILABLE", "OBSERVE_FAILED", `observe ${kind}: ${message}`, {
        cause: error,
      });
    }
  }
}

/** Indexed when it is first asked for. */
function lookOf(startedAt: number, lives: Look["lives"]): Look {
  let index: Promise<ReadonlyMap<string, readonly Live[]>> | undefined;
  const of = async (instanceId: string) => {
    index ??= lives.then((all) => Map.groupBy(all, ({ key }) => key.instanceId));
    return (await index).get(instanceId) ?? [];
  };
  return { startedAt, lives, of };
}

const ANY = "";

const SCOPES = ["all", "recorded"] as const;

function wholeLook(startedAt: number, all: readonly Live[]): WholeLook {
  const byResource = Map.groupBy(all, ({ key }) => `${key.instanceId}/${key.resourceId}`);
  const of = (instanceId: string, resourceId: string) =>
    byResource.get(`${instanceId}/${resourceId}`) ?? [];
  return { startedAt, all, of };
}

/** In keys of looks at one instance, and of no other. */
function isWhole({ scope, instanceId }: View): boolean {
  return scope === "all" && instanceId === undefined;
}

const OF_ONE = " of ";

function keyOf({ kind, scope, instanceId }: View): string {
  const whole = `${scope} ${kind}`;
  return instanceId === undefined ? whole : whole + OF_ONE + instanceId;
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
