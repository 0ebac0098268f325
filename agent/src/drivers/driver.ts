/**
 * The contract of a driver: the part of the agent that knows one kind of resource. A driver keeps no memory
 * of its own: each look finds its own work by its marks, so that nothing depends on what a crashed agent knew.
 */
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import type { Violation } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import type { Log } from "@holdfast/shared/log.ts";

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

export type ResourceKey = Readonly<{ instanceId: string; resourceId: string }>;

/** One resource, rendered for one generation as far as everything is known. */
export type Wanted = Readonly<{
  key: ResourceKey;
  kind: string;
  generation: Generation;
  releaseVersion: string;
  /** Of the rendered spec, the artefacts and the secret versions: the same digest means nothing to do. */
  digest: string;
  spec: JsonObject;
  /** Paths of texts in the spec in which secrets are named still, as templates; all others are as they stand. */
  secretTexts?: readonly string[];
  /** Values that must not be shown or written anywhere but where the spec says, by secret name. */
  secrets: ReadonlyMap<string, string>;
  /** Artefact name to the absolute path of its verified content. */
  artefacts: ReadonlyMap<string, string>;
}>;

/** One copy of a resource as found on this host. There may be two of a resource while one replaces the other. */
export type Live = Readonly<{
  key: ResourceKey;
  /** The driver's name of this copy. May come back once nothing is left of the copy that had it. */
  handle: string;
  digest: string;
  generation: Generation;
  /** `idle`: as it should be, although nothing of it runs: it has done its work, or waits for its time. */
  phase: "starting" | "running" | "stopping" | "exited" | "idle";
  /** What other resources and the instance's outputs may name, such as {ports: {http: 41234}}. */
  outputs: JsonObject;
  /** Wall clock, ms. */
  startedAt: number;
  /** Starts after the first one of this digest that were caused by an exit. */
  restarts: number;
  /** One line for people: the exit status, or that it is unknown, with the last line of output. */
  message: string;
  /** Wall clock, ms, of an exited copy; restart back-off counts from here. */
  exitedAt?: number;
  /** What of it only the driver's own plans need, such as the last run of a schedule. */
  facts?: JsonObject;
  /** Runs, but its health said that it is not alive: `steps` replaces it as if it had exited. */
  failing?: boolean;
  /** How what the driver owns of it is now, in the shape of its spec. Of looks of scope `all` alone, and never a secret. */
  fields?: JsonObject;
}>;

/**
 * One field that is not as it was applied, by its path in the spec (`limits.memoryMib`). A secret and what holds one is
 * named by what happened to it, never by its value; a long text by its digest.
 */
export type Difference = Readonly<{ path: string; applied: JsonValue; live: JsonValue }>;

export type StepClass = "reversible" | "compensable" | "irreversible";

/**
 * In the metadata of a fault of `run`: the step has begun to act. One that cannot be taken back is then no longer
 * undone by being given up.
 */
export const HAS_ACTED = "hasActed";

/** What is to be done, as written to the journal. Holds no secret and all else that running it needs. */
export type StepOrder = Readonly<{
  resourceId: string;
  kind: string;
  verb: string;
  input: JsonObject;
}>;

/**
 * Orders that are in no plan and that `run` of every driver knows. Succeed where there is nothing to do.
 * `signal`: input {instance, signal: "SIGHUP"}; tells every running copy of the resource that a file it reads has changed.
 */
export const STANDING_VERBS = { signal: "signal" } as const;

export type Step = StepOrder &
  Readonly<{
    /** The same plan gives the same ids: `worker/start`. */
    id: string;
    class: StepClass;
    /**
     * Old copies go after the commit, never before, unless both cannot run at once. `while-serving`: in no attempt, but
     * whenever its time has come; what is to be done some day is no drift.
     */
    when: "before-commit" | "after-commit" | "while-serving";
    /** One line for people and for consent, with the gap in service if there is one. */
    summary: string;
    /** Its own time limit, ms; where it says nothing, the engine's STEP_MS_MAX holds. */
    msMax?: number;
    undo?: StepOrder & Readonly<{ summary: string; msMax?: number }>;
    /** Takes long, and is given up when something newer is wanted or the attempt fails: its undo ends what runs. */
    mayBeCut?: boolean;
    /** Do not begin before this wall-clock time in ms: restart back-off, or draining. */
    notBefore?: number;
    /** What holds data and is gone after this step, by name (`volume etl-data`): needs a destroy order, whoever planned it. */
    destroys?: readonly string[];
  }>;

/** Directories of one instance; they exist when a step runs. */
export type InstanceDirectories = Readonly<{
  run: string;
  data: string;
  logs: string;
  seatsFile: string;
}>;

export type DriverContext = Readonly<{
  log: Log;
  clock: Clock;
  random: Random;
  signal: AbortSignal;
  /** Absolute; its instances' directories are below. Marks of live work name it. */
  stateDir: string;
  directories(instanceId: string): InstanceDirectories;
  /**
   * In steps and `prepare` of an attempt: one line of what is done now, such as how far a download is, a few a second at
   * most, for people who ask to see it. Kept for a while without the secrets of the rendering. Never throws or waits.
   */
  say?(line: string): void;
}>;

export type StepContext = DriverContext &
  Readonly<{
    /** The rendering with this digest: the one to come or the last committed one. Rejects if it is neither. */
    wanted(digest: string): Promise<Wanted>;
  }>;

/** Done again after a crash, a step finds what it did before and says the same. */
export type StepOutcome = Readonly<{ handle?: string; outputs?: JsonObject; message?: string }>;

export type Health = Readonly<{
  /** `failed`: it will not become ready by waiting. */
  state: "ready" | "starting" | "failed";
  /** Alive although perhaps not ready; false asks for a restart. */
  alive: boolean;
  message: string;
  /** What the spec asks for and this host does not give, such as a limit; the copy works all the same. */
  caveat?: string;
}>;

/** How long the engine waits for a copy to be ready, and the longest pause between two looks at it. */
export type Readiness = Readonly<{ deadlineMs: number; intervalMs: number }>;

/** A counter that the driver keeps for one copy: cumulative and monotone within its source. */
export type DriverReading = Readonly<{
  key: ResourceKey;
  /** Identity of what was counted; another life of it has another source. */
  source: string;
  counter: string;
  value: bigint;
  /** Last one of this source: it has ended. */
  final: boolean;
  /** Wall clock, ms. */
  at: number;
}>;

/** What holds data and outlives copies and instances, found by the driver's marks as they are. */
export type KeptData = Readonly<{
  instanceId: string;
  /** What people and destroy orders call it; unique within the instance. */
  name: string;
  /** Whose it is, where it is not the instance's as a whole. */
  resourceId?: string;
  /** Where it is on this host: an absolute path, or a volume's own name. */
  place: string;
  /** On disk. At least so many: a look at very many files stops at a named bound. */
  bytes: number;
  /** Wall clock, ms: since when it is there. */
  since: number;
}>;

/** The output of one copy, which outlives it for a while. */
export type LogFile = Readonly<{
  key: ResourceKey;
  handle: string;
  /** Names this log for ever: a copy of the same handle that comes later has another. */
  identity: string;
  /** Output goes in segments, of which only the last one grows; this is its number, from 1 on. */
  segment: number;
  /** Of the last segment. */
  bytes: number;
  /** Wall clock, ms. */
  writtenAt: number;
}>;

/** A place in a log: before this byte of this segment. */
export type LogPlace = Readonly<{ segment: number; offset: number }>;

export type LogRead = Readonly<{
  data: Buffer;
  /** Where `data` begins: not where was asked if what stood there is gone. */
  at: LogPlace;
  /** Nothing will be added to this segment; what follows is in the next one. */
  isEnd: boolean;
  /** The segment was cut in place since: what is read now may have been read before, and some of it never was. */
  wasCut: boolean;
}>;

/** `isNeeded`: there are secrets to take out. */
export type Redactor = Readonly<{ isNeeded: boolean; redact(line: string): string }>;

/**
 * How far a look goes. `all`: whatever carries our marks. `recorded`: what the driver has itself written down, where
 * that is cheaper; a copy that it does not show may still be there, so nothing is started because of it alone.
 */
export type LookScope = "all" | "recorded";

export interface Driver {
  readonly kind: string;
  /**
   * Until the commit the previous generation serves without a failed request, and a return leaves it so. Where one
   * plan cannot keep that, as with a fixed port, its step is compensable and says the gap.
   */
  readonly isAtomic: boolean;
  /** Its copies do their work once and end: no restart of a whole instance runs them again, and nobody waits for them. */
  readonly runsToEnd?: boolean;
  /** Why it cannot work on this host; undefined if it can. */
  missing(): Promise<string | undefined>;
  /** All that is wrong with a spec that can never be applied here. Pure. */
  check(spec: JsonObject, path: string): readonly Violation[];
  /** Every copy here that carries our marks, strays of an earlier life included; one snapshot for all instances. */
  observe(context: DriverContext, scope?: LookScope): Promise<readonly Live[]>;
  /** As observe, of one instance alone; for the scopes in which that costs less than a look at all of them. */
  observeOne?: Readonly<
    Partial<
      Record<LookScope, (instanceId: string, context: DriverContext) => Promise<readonly Live[]>>
    >
  >;
  /** All that can fail is tried before anything changes. Artefacts are already verified and local. */
  prepare(wanted: Wanted, context: DriverContext): Promise<void>;
  /**
   * From what is there, what was committed last and what is wanted (undefined: nothing of it). Pure.
   * With `last` equal to `wanted` these are repairs, such as the restart of a copy that has exited.
   */
  steps(
    live: readonly Live[],
    last: Wanted | undefined,
    wanted: Wanted | undefined,
    now: number,
  ): readonly Step[];
  /**
   * A new copy of this rendering in the place of those that run, because somebody asked for it: what comes first is
   * ready before the old one goes, unless both cannot run at once. Pure.
   */
  restart(live: readonly Live[], wanted: Wanted): readonly Step[];
  /**
   * What somebody else changed of a copy, as its `fields` say; nothing of what the driver does not own. Also against
   * another rendering than the one that was applied: then what that one would change of it. Pure.
   */
  drift(live: Live, applied: Wanted): readonly Difference[];
  /** Brings drifted fields back; nothing where there are none. Pure. */
  revert(live: Live, applied: Wanted): readonly Step[];
  /**
   * Until `context.signal` aborts: rings when something of this kind was changed by others. What it misses is found by
   * the next look. May reject; it is then begun again.
   */
  watch?(context: DriverContext, changed: () => void): Promise<void>;
  /**
   * Of a kind whose copies run by themselves: what ends those of one resource and forgets nothing that the next life goes
   * on from. Needs no rendering. What nobody can take back is left to its end unless `isAll`. Pure.
   */
  halts?(live: readonly Live[], isAll: boolean): readonly StepOrder[];
  /** Safe to repeat, also when half done. */
  run(order: StepOrder, context: StepContext): Promise<StepOutcome>;
  health(live: Live, wanted: Wanted, context: DriverContext): Promise<Health>;
  /** Of a rendered spec. Pure. */
  readiness(wanted: Wanted): Readiness;
  /** One reading per counter and copy that runs, and the last ones of those that have ended since. */
  readings(context: DriverContext): Promise<readonly DriverReading[]>;
  /** Called once the readings up to `at` are durable: what was kept for ended copies may go. */
  readingsKept(at: number, context: DriverContext): Promise<void>;
  /** The last lines of a copy's output, oldest first. */
  logs(live: Live, lines: number, context: DriverContext): Promise<readonly string[]>;
  /**
   * Every log that is here, or those of one instance, also of copies that have ended. Cheap: asked twice a second, and
   * for an instance at every step.
   */
  logFiles(context: DriverContext, instanceId?: string): Promise<readonly LogFile[]>;
  /** What was written from a place on, at most so many bytes. Never rejects for what is gone. */
  readLog(file: LogFile, at: LogPlace, bytesMax: number, context: DriverContext): Promise<LogRead>;
  /** Takes the copy's secrets out of its lines; undefined if they are not known any more. */
  redactor(file: LogFile, context: DriverContext): Redactor | undefined;
  /**
   * Ends all copies of an instance and removes what it has itself put into run/ and logs/, never data/. Other drivers
   * find their work by what is there; the engine removes the rest once all are through. Succeeds also when nothing was there.
   */
  drop(instanceId: string, context: DriverContext): Promise<void>;
  /**
   * Data of any instance, in use or not, as far as it is asked for. One driver alone tells of data/. What is empty is not
   * data. Asked for all it may take minutes.
   */
  kept(
    context: DriverContext,
    isAsked?: (data: Pick<KeptData, "instanceId" | "resourceId">) => boolean,
  ): Promise<readonly KeptData[]>;
  /**
   * Removes an instance's data for ever: those of these names, without names all of it. Only the engine calls it, with a
   * destroy order or a local approval in hand. Succeeds also when nothing was there; safe to repeat when half done.
   */
  destroy(instanceId: string, context: DriverContext, names?: readonly string[]): Promise<void>;
}
