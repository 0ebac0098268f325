/**
 * What a job needs of whoever runs its program: a process of the host, or a container of its engine. The rules of jobs
 * know no more than this; what is durable is written down by them, what runs is found by its runner.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type {
  DriverContext,
  DriverReading,
  LogFile,
  LookScope,
  Redactor,
  ResourceKey,
  Wanted,
} from "../driver.ts";
import type { Job, Run } from "./ledger.ts";
import type { JobSpec } from "./spec.ts";

/** Which of a job's two programs. */
export type Part = "run" | "undo";

export type Begin = Readonly<{
  wanted: Wanted;
  spec: JobSpec;
  part: Part;
  run: Pick<Run, "number" | "try" | "dueAt">;
}>;

/** What runs, by its marks alone: also where nobody has written its job down. */
export type MarkedRun = Readonly<{
  key: ResourceKey;
  handle: string;
  digest: string;
  generation: string;
  startedAt: number;
  running: boolean;
}>;

/** How a run that has begun and is over was found to have ended. */
export type FoundEnd = Readonly<{
  at: number;
  /** undefined: nobody saw it. */
  status: number | undefined;
  /** By what limit, where the kernel ended some of it for want of memory. */
  wantOfMemory: string | undefined;
  /** What became of one whose status nobody saw, in words. */
  lost: string;
  /** Its last lines in one, without its secrets. */
  said: string;
}>;

/** How a run stands that is written down. */
export type StandingRun = Readonly<{
  run: Run;
  /** Also while only children of it are left: it is over when all of it is. */
  isAlive: boolean;
  /** Its program has not run, for certain. */
  isUnbegun(): boolean;
  /** Wall clock, ms, as far back as it has run by the clock that does not jump. */
  beganAt(): number;
  /** Why it has to be ended before its deadline. */
  overuse: string | undefined;
  /** Of one that has begun and is over. */
  found(): FoundEnd;
}>;

/** The same, with what is left of it at hand. */
export type SeenRun = StandingRun &
  Readonly<{
    /** The last lines of it. */
    said(lines: number): readonly string[];
    /** The file that it may have written its outputs to, and the folder that holds its secrets. */
    gives(spec: JobSpec): Readonly<{ path: string; home: string }>;
    /** What a look is good for besides: its meter, and limits that nobody else keeps. */
    watch(spec: Pick<JobSpec, "limits">): Promise<void>;
    /** Once its end is heard of; undefined where only looks tell. */
    ended(stop: AbortSignal): Promise<unknown> | undefined;
    /** Ends what lives of it, by the job's own signal and grace. */
    end(): Promise<void>;
    /** Its last readings are kept. */
    close(at: number): void;
    /** Its end is written down: what was only for that may go. */
    letGo(): void;
  }>;

export type Look<Seen extends StandingRun = SeenRun> = Readonly<{
  marked: readonly MarkedRun[];
  see(job: Job, run: Run): Seen;
}>;

/** Where nobody can look: what is launched goes on, as far as anybody can tell. */
export const UNSEEN: Look<StandingRun> = {
  marked: [],
  see: (_, run) => ({
    ...{ run, isAlive: run.isLaunched, overuse: undefined },
    isUnbegun: () => !run.isLaunched,
    beganAt: () => run.beganAt,
    found: () => {
      throw new Fault("INTERNAL", "INTERNAL", "the end of a run that nobody looked at");
    },
  }),
};

/** As much of a job as is known where nobody has written it down. */
export type Named = Pick<Job, "instance" | "handle" | "stop">;

export interface Runner {
  /** Throws what the start would. */
  prepare(wanted: Wanted, spec: JobSpec, context: DriverContext): Promise<void>;
  /** At all that it runs. `jobs`: of which more is to be known than that. Rejects where it cannot look. */
  look(jobs: readonly Job[], context: DriverContext, scope?: LookScope): Promise<Look>;
  /** Calls `launched` when all is made, right before the program may run: from then on it may have run. */
  begin(
    job: Job,
    begin: Begin,
    launched: (known?: Pick<Run, "uptimeMs">) => void,
    context: DriverContext,
  ): Promise<void>;
  /** What is left of one run, which is over. */
  remove(job: Job, number: number, context: DriverContext): Promise<void>;
  /** Ends whatever of this job lives, written down or not, and keeps what is left of it. How many runs were found. */
  endAll(job: Named, context: DriverContext): Promise<number>;
  /** The same, and removes what is left. */
  forget(job: Named, context: DriverContext): Promise<number>;
  /** Where the secrets of a run are, in a folder `secrets`. */
  homeOf(job: Pick<Job, "instance" | "handle">, number: number, context: DriverContext): string;
  /** Of what runs. Last ones of what has ended are kept, and what has ended long ago is removed. */
  readings(context: DriverContext): Promise<readonly DriverReading[]>;
  /** Sees to it that the output of all that runs gets into the files of the logs. */
  takeOutput(context: DriverContext): Promise<void>;
  redactor(file: LogFile, context: DriverContext): Redactor | undefined;
  drop(instanceId: string, context: DriverContext): Promise<void>;
}

/** `container`: only where the customer names an engine. */
export type Runners = Readonly<{ process: Runner; container: Runner | undefined }>;

/** Throws FAILED_PRECONDITION `DRIVER_MISSING`. */
export function runnerOf(runners: Runners, { runsAs }: Pick<Job, "runsAs">): Runner {
  const runner = runners[runsAs];
  if (runner !== undefined) return runner;
  const message = "a job in a container: container_socket is not set in the agent's configuration";
  throw new Fault("FAILED_PRECONDITION", "DRIVER_MISSING", message);
}

/** All that there are. */
export function eachOf({ process, container }: Runners): readonly Runner[] {
  return container === undefined ? [process] : [process, container];
}

/** An engine that is away for a while: what runs in it goes on. */
export function isAway(error: unknown): boolean {
  return error instanceof Fault && error.reason === "ENGINE_UNREACHABLE";
}

/** A run's folder, with its secrets, stays so long after its end; the job itself stays. */
const RUN_KEPT_MS = 600_000;

/**
 * Its end is written down, and whoever ships its output has had the time to take the secrets out of it. `endedAt`: of
 * earlier tries, which are not written down any more.
 */
export function isLongOver(
  job: Job | undefined,
  number: number,
  endedAt: number | undefined,
  now: number,
): boolean {
  const run = [job?.run, job?.undo].find((each) => each?.number === number);
  const at = run === undefined ? endedAt : run.end?.at;
  return at !== undefined && now - at > RUN_KEPT_MS;
}

export const OUTPUTS_VARIABLE = "HOLDFAST_OUTPUTS";

export function variablesOf(run: Begin["run"], outputs: string | undefined) {
  return {
    ...(outputs !== undefined && { [OUTPUTS_VARIABLE]: outputs }),
    HOLDFAST_TRY: String(run.try),
    ...(run.dueAt !== undefined && { HOLDFAST_DUE_TIME: new Date(run.dueAt).toISOString() }),
  };
}
