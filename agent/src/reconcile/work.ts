/** What the work on one instance is handed in, and how it ends early. */
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Recorder } from "@holdfast/shared/flight/machine.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { ArtefactRef } from "../artefacts/cache.ts";
import type { Addressee } from "../assignments/judge.ts";
import type { ConsentPort } from "../consent/port.ts";
import type { Driver, DriverContext, Live, StepContext, Wanted } from "../drivers/driver.ts";
import type { StepVoice } from "../output/attempt-output.ts";
import type { StepOutputs } from "../output/outputs.ts";
import type { Secrets } from "../secrets/secrets.ts";
import * as attempts from "../store/attempts.ts";
import type { Store } from "../store/database.ts";
import type { Measured } from "./conditions.ts";
import type { Journal } from "./journal.ts";
import type { KeptLooks } from "./kept.ts";
import type { UsageStream } from "./last-usage.ts";
import type { Orders } from "./orders.ts";
import { plannedOf, wantedOf } from "./rendering.ts";
import { bounded, type Snapshots } from "./snapshots.ts";

export type Artefacts = Readonly<{
  pathOf(digest: string): string;
  has(digest: string): boolean;
  ensure(artefact: ArtefactRef, signal: AbortSignal): Promise<void>;
  prune(kept: ReadonlySet<string>): Promise<number>;
}>;

/** What a removal asks of the metering, so that nothing that was used goes unbilled. */
export type UsagePort = Readonly<{
  /** Ahead of the window's end, all of one instance; durable when it resolves. */
  measure(instanceId: string): Promise<void>;
  /** Where the stream to the hub stands. */
  stream(): UsageStream;
}>;

export type EngineDeps = Readonly<{
  store: Store;
  journal: Journal;
  clock: Clock;
  random: Random;
  log: Log;
  drivers: ReadonlyMap<string, Driver>;
  /** Why a driver cannot work on this host, by kind. */
  missingDrivers: ReadonlyMap<string, string>;
  context: DriverContext;
  artefacts: Artefacts;
  consent: ConsentPort;
  secrets: Secrets;
  /** How an instance's last window was measured; undefined before the first one ended. */
  measured(instanceId: string): Measured | undefined;
  usage: UsagePort;
  /** What holds data and may go out of service in one attempt without a person. */
  deletionBudget: number;
  /** For whom this agent works: an order for anybody else is refused. */
  addressee: Addressee;
  /** The hub's time as far as it is known, ms: by it an order is too late. */
  hubNow(): number;
  /** Writes decisions down; without it nothing is. */
  recorder?: Recorder;
  /** Loops look again after this long without a ring. */
  intervalMs: number;
}>;

/** One instance's share of it. */
export type Work = EngineDeps &
  Readonly<{
    instanceId: string;
    snapshots: Snapshots;
    orders: Orders;
    kept: Pick<KeptLooks, "of" | "ring">;
    outputs: StepOutputs;
    signal: AbortSignal;
    /** What the attempt under way does or waits for, by resource. Of the moment: never stored, nothing depends on it. */
    doing: Map<string, string>;
    /** Something that people see has changed. */
    changed(): void;
    /** A pass is over: what people see may be kept. */
    settled(): void;
  }>;

/** A step that says no limit of its own must end within this. */
export const STEP_MS_MAX = 600_000;
/** A look at the health of one copy. */
export const HEALTH_MS_MAX = 10_000;

/**
 * Ends an attempt early at a safe point. `shutdown` leaves the journal for the next start; `later` ends the
 * attempt before anything was changed, to be begun again.
 */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly kind: "failed" | "superseded" | "shutdown" | "later";
  readonly reason: string;

  constructor(kind: Interrupted["kind"], reason: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
    this.reason = reason;
  }
}

/** Failure of something outside of the agent: the attempt's failure, not the agent's. */
export async function outside<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    const known = error instanceof Fault ? error.reason : "DRIVER_FAILED";
    const reason = isDiskFull(error) ? "DISK_FULL" : known;
    const message = error instanceof Error ? error.message : String(error);
    throw new Interrupted("failed", reason, `${what}: ${message}`, error);
  }
}

/** Also where a quota of the account is used up, and however deep a driver has wrapped it. */
function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || isDiskFull(error.cause);
}

export function driverOf(deps: Pick<EngineDeps, "drivers">, kind: string): Driver {
  const driver = deps.drivers.get(kind);
  if (driver !== undefined) return driver;
  throw new Fault("FAILED_PRECONDITION", "DRIVER_MISSING", `no driver for kind ${kind}`);
}

/** This resource's copies, newest last. */
export function copiesOf(lives: readonly Live[], instanceId: string, resourceId: string) {
  return lives
    .filter(({ key }) => key.instanceId === instanceId && key.resourceId === resourceId)
    .sort((a, b) => a.startedAt - b.startedAt);
}

/** Of this one copy for ever: its handle may come back once nothing is left of it. */
export function identityOf({ handle, startedAt }: Live): string {
  return `${handle}@${startedAt}`;
}

/** The copy that serves or is to serve this rendering. */
export function servingCopy(copies: readonly Live[], digest: string): Live | undefined {
  const same = copies.filter((copy) => copy.digest === digest && copy.phase !== "stopping");
  return same.findLast(({ phase }) => phase !== "exited") ?? same.at(-1);
}

/** Renderings by digest, as the store keeps them: the wanted ones and the committed ones. */
export function stepContext(work: Work, signal: AbortSignal, voice?: StepVoice): StepContext {
  const wanted = async (digest: string): Promise<Wanted> => {
    const rendering = attempts.findRendering(work.store, work.instanceId, digest);
    if (rendering !== undefined) {
      const found = await wantedOf(rendering, work.instanceId, work.artefacts.pathOf, work.secrets);
      voice?.learn(found.secrets);
      return found;
    }
    throw new Fault("INTERNAL", "RENDERING_LOST", `no rendering with digest ${digest}`);
  };
  return { ...work.context, signal, wanted, ...(voice && { say: voice.line }) };
}

/** The committed rendering of a resource, to plan with; undefined if it is not committed. */
export function plannedCommitted(
  work: Work,
  committed: attempts.Committed | undefined,
  resourceId: string,
  kind: string,
): Wanted | undefined {
  const found = committed?.resources.find((each) => each.id === resourceId && each.kind === kind);
  if (found === undefined) return undefined;
  const rendering = attempts.findRendering(work.store, work.instanceId, found.digest);
  if (rendering === undefined) return undefined;
  return plannedOf(rendering, work.instanceId, work.artefacts.pathOf);
}

/** A call of a driver with an end. */
export async function within<Result>(
  work: Work,
  msMax: number,
  what: string,
  call: (context: DriverContext) => Promise<Result>,
): Promise<Result> {
  return await bounded(
    work.clock,
    msMax,
    what,
    (signal) => call({ ...work.context, signal }),
    work.signal,
  );
}
