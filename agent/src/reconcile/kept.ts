/**
 * What data is on this host that nothing uses any more: of removed instances, and of resources that a release has no
 * more. One look for all, taken seldom, since nothing depends on it but what people are told; a look that fails leaves
 * what was seen before.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Driver, DriverContext, KeptData } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import { bounded } from "./snapshots.ts";

/** Between two looks where nothing rings. */
const KEPT_LOOK_MS = 600_000;
/** A look at many files on a slow disk. */
const KEPT_LOOK_MS_MAX = 300_000;
/** Of one instance, as told; more are only on the host. */
export const KEPT_NAMES_MAX = 100;

/** As it is told: the place of it is this host's own matter. */
export type KeptView = Readonly<{
  name: string;
  /** Empty: the instance's as a whole. */
  resource: string;
  bytes: number;
  /** Wall clock, ms: since when nothing uses it. */
  since: number;
}>;

/** With the driver that keeps it. */
export type Kept = KeptData & Readonly<{ kind: string }>;

export type KeptDeps = Readonly<{
  store: Store;
  drivers: ReadonlyMap<string, Driver>;
  context: DriverContext;
  clock: Clock;
  log: Log;
}>;

export class KeptLooks {
  readonly #deps: KeptDeps;
  readonly #bell: Doorbell;
  readonly #changed: (instanceId: string) => void;
  readonly #found = new Map<string, readonly Kept[]>();

  /** `changed` is called for each instance of which something else is kept than before. */
  constructor(deps: KeptDeps, changed: (instanceId: string) => void) {
    this.#deps = deps;
    this.#bell = new Doorbell(deps.clock);
    this.#changed = changed;
  }

  /** Of all instances, as last seen. */
  all(): readonly Kept[] {
    return [...this.#found.values()].flat().filter((each) => !isUsed(this.#deps.store, each));
  }

  of(instanceId: string): readonly Kept[] {
    return this.all().filter((each) => each.instanceId === instanceId);
  }

  /** Unknown is not empty: also what was not looked at yet. */
  mayHave(instanceId: string): boolean {
    const kinds = [...this.#deps.drivers.keys()];
    const hasLooked = kinds.length > 0 && kinds.every((kind) => this.#found.has(kind));
    return !hasLooked || this.of(instanceId).length > 0;
  }

  /** Something was removed or destroyed. */
  ring(): void {
    this.#bell.ring();
  }

  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#bell.ring(), { once: true });
    while (!signal.aborted) {
      await this.#look(signal);
      if (!signal.aborted) await this.#bell.wait(KEPT_LOOK_MS);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { store, drivers } = this.#deps;
    const before = this.all();
    for (const kind of drivers.keys()) {
      try {
        const found = await lookAt(this.#deps, kind, signal, (each) => !isUsed(store, each));
        this.#found.set(kind, found);
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.log.warn({ kind, error: causeChain(error) }, "could not see what is kept");
      }
    }
    const ids = new Set([...before, ...this.all()].map(({ instanceId }) => instanceId));
    for (const instanceId of ids) this.#changed(instanceId);
  }
}

/** What one driver keeps now. Rejects if it cannot say. */
export async function lookAt(
  { drivers, clock, context }: Pick<KeptDeps, "drivers" | "clock" | "context">,
  kind: string,
  signal: AbortSignal,
  isAsked: (data: Pick<KeptData, "instanceId" | "resourceId">) => boolean,
): Promise<readonly Kept[]> {
  const found = await bounded(
    clock,
    KEPT_LOOK_MS_MAX,
    `kept data of ${kind}`,
    async (limit) => (await drivers.get(kind)?.kept({ ...context, signal: limit }, isAsked)) ?? [],
    signal,
  );
  return found.map((each) => ({ ...each, kind }));
}

/** Whether anything may run that needs it, or may be brought back to need it. An unknown instance needs nothing. */
export function isUsed(
  store: Store,
  { instanceId, resourceId }: Pick<KeptData, "instanceId" | "resourceId">,
): boolean {
  const held = assignments.find(store, instanceId);
  if (held === undefined || held.removed) return false;
  if (resourceId === undefined) return true;
  const attempt = attempts.find(store, instanceId);
  if (attempt !== undefined && attempt.phase !== "ENDED") return true;
  const committed = attempts.findCommitted(store, instanceId);
  return committed === undefined || committed.resources.some(({ id }) => id === resourceId);
}

/** Since when nothing uses it, ms. */
export function unusedSince(store: Store, { instanceId, since }: KeptData): number {
  const held = assignments.find(store, instanceId);
  if (held === undefined) return since;
  const at = held.removed
    ? attempts.find(store, instanceId)?.endedAt
    : attempts.findCommitted(store, instanceId)?.committedAt;
  return Math.max(since, at ?? since);
}

/** As it is told, a bounded part of it. */
export function keptViews(
  { kept, store }: Readonly<{ kept: Pick<KeptLooks, "of">; store: Store }>,
  instanceId: string,
): readonly KeptView[] {
  return kept
    .of(instanceId)
    .slice(0, KEPT_NAMES_MAX)
    .map((data) => {
      const { name, resourceId = "", bytes } = data;
      return { name, resource: resourceId, bytes, since: unusedSince(store, data) };
    });
}
