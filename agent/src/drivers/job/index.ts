/**
 * The driver of kind `job`: programs of a release that run to their end, as processes of the host or in containers. Found
 * again by what is written down and by marks; it runs argument lists, and nothing that is not in a verified artefact.
 */
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import { checkJobSpec } from "@holdfast/shared/blueprint/kinds/job.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  type Driver,
  type DriverContext,
  type DriverReading,
  type Live,
  type LookScope,
  type Readiness,
  STANDING_VERBS,
  type StepContext,
  type StepOrder,
  type StepOutcome,
} from "../driver.ts";
import { endedReadings } from "../ended.ts";
import { onHost, whyNoProc } from "../host-process/ground.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { logFilesIn, readLog } from "../log-reader.ts";
import { lastLines, logPath } from "../logs.ts";
import { healthOf } from "./health.ts";
import { findJobs, type Job, jobDir, readJob, runHandle } from "./ledger.ts";
import { liveOf } from "./live.ts";
import { asProcesses } from "./on-host.ts";
import {
  eachOf,
  isAway,
  type Look,
  type Runner,
  type Runners,
  runnerOf,
  type StandingRun,
  UNSEEN,
} from "./runner.ts";
import { DRIVER_KIND, renderedSpecOf } from "./spec.ts";
import { lostJobs } from "./standing.ts";
import { haltOrders, restartSteps, stepsFor } from "./steps.ts";
import { SHELL } from "./supervisor.ts";
import {
  armJob,
  forgetJob,
  haltJob,
  recallJob,
  runJob,
  settleJob,
  startRun,
  stopRun,
  undoJob,
} from "./verbs.ts";

/** The step that comes before waits for the end itself; what is left is a look. */
const READINESS: Readiness = { deadlineMs: 30_000, intervalMs: 200 };

/** `containers`: where the customer names an engine. */
export function jobDriver(host: ProgramHost, containers?: Runner): Driver {
  const runners: Runners = { process: asProcesses(host), container: containers };
  return {
    kind: DRIVER_KIND,
    isAtomic: false,
    runsToEnd: true,
    missing: async () => whyMissing(host.procDir),
    check: checkJobSpec,
    observe: (context, scope = "all") => lookAt(runners, scope, context),
    prepare: async (wanted, context) => {
      const spec = renderedSpecOf(wanted.spec);
      await runnerOf(runners, spec).prepare(wanted, spec, context);
    },
    steps: stepsFor,
    restart: restartSteps,
    halts: haltOrders,
    // Between its runs nothing of a job stands anywhere, and what a run has done belongs to whom it was done to.
    drift: () => [],
    revert: () => [],
    run: (order, context) => onHost(order.resourceId, () => runStep(runners, order, context)),
    health: (live, wanted, context) => healthOf(runners, live, wanted, context),
    readiness: () => READINESS,
    readings: (context) => readAll(runners, context),
    readingsKept: async (at, context) => endedReadings(DRIVER_KIND).forget(at, context),
    logs: async (live, lines, context) => linesOf(runners, live, lines, context),
    logFiles: async (context, instanceId) => {
      const taken = takeOutput(runners, context);
      // A step does not wait for the engine to find out what it prints.
      if (instanceId === undefined) await taken;
      return logFilesIn(DRIVER_KIND, context, instanceId);
    },
    readLog: (file, at, bytesMax, context) => readLog(file, at, bytesMax, context),
    redactor: (file, context) => {
      const found = eachOf(runners).map((runner) => runner.redactor(file, context));
      return found.find((redactor) => redactor !== undefined);
    },
    drop: (instanceId, context) =>
      onHost(instanceId, async () => {
        // Those in containers first: what they left in folders goes with the rest.
        for (const runner of eachOf(runners).toReversed()) await runner.drop(instanceId, context);
      }),
    // What a job leaves in data/ is found and removed by the driver of processes, whose folder that is.
    kept: async () => [],
    destroy: async () => undefined,
  };
}

function whyMissing(procDir: string): string | undefined {
  try {
    accessSync(SHELL, constants.X_OK);
    return whyNoProc(procDir);
  } catch {
    return `${SHELL} cannot be run; it waits for the end of a job`;
  }
}

async function lookAt(
  runners: Runners,
  scope: LookScope,
  context: DriverContext,
): Promise<readonly Live[]> {
  const jobs = findJobs(context);
  const found: Live[] = [];
  for (const runsAs of ["process", "container"] as const) {
    const mine = jobs.filter((job) => job.runsAs === runsAs);
    const look = await lookBy(runners[runsAs], mine, scope, context);
    const lost = lostJobs(jobs, look.marked, runsAs);
    found.push(...[...mine, ...lost].map((job) => liveOf(job, look)));
  }
  return found.sort((a, b) => a.startedAt - b.startedAt || (a.handle < b.handle ? -1 : 1));
}

async function lookBy(
  runner: Runner | undefined,
  jobs: readonly Job[],
  scope: LookScope,
  context: DriverContext,
): Promise<Look<StandingRun>> {
  const looked = runner?.look(jobs, context, scope);
  return looked === undefined ? UNSEEN : await unlessAway<Look<StandingRun>>(looked, UNSEEN);
}

/** An engine that is away for a while takes nothing from jobs that do not run in it. */
async function unlessAway<Found>(asked: Promise<Found>, otherwise: Found): Promise<Found> {
  try {
    return await asked;
  } catch (error) {
    if (isAway(error)) return otherwise;
    throw error;
  }
}

async function runStep(
  runners: Runners,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  switch (order.verb) {
    case "run":
      return await runJob(runners, order, context);
    case "undo":
      return await undoJob(runners, order, context);
    case "arm":
      return await armJob(order, context);
    case "recall":
      return await recallJob(order, context);
    case "start":
      return await startRun(runners, order, context);
    case "stop":
      return await stopRun(runners, order, context);
    case "settle":
      return await settleJob(runners, order, context);
    case "forget":
      return await forgetJob(runners, order, context);
    case "halt":
      return await haltJob(runners, order, context);
    case STANDING_VERBS.signal:
      return { message: "a job reads its files when it runs; nothing to tell" };
    default:
      throw new Fault(
        "UNIMPLEMENTED",
        "VERB_UNKNOWN",
        `${order.resourceId}: got ${shown(order.verb)}; the job driver knows run, undo, arm, recall, start, stop, settle, forget, halt, signal`,
      );
  }
}

/** Never rejects: what is not taken now the next look takes. */
async function takeOutput(runners: Runners, context: DriverContext): Promise<void> {
  try {
    for (const runner of eachOf(runners)) await unlessAway(runner.takeOutput(context), undefined);
  } catch (error) {
    context.log.debug({ error: causeChain(error) }, "output is not followed");
  }
}

async function readAll(
  runners: Runners,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const running: DriverReading[] = [];
  for (const runner of eachOf(runners)) {
    running.push(...(await unlessAway(runner.readings(context), [])));
  }
  return [...running, ...endedReadings(DRIVER_KIND).offer(context)];
}

/** Of its newest run; once the run's secrets are gone, what was kept of it without them. */
function linesOf(
  runners: Runners,
  { key, handle }: Live,
  lines: number,
  context: DriverContext,
): readonly string[] {
  const job = readJob(jobDir(context, key.instanceId, handle));
  const run = job?.run;
  if (job === undefined || run === undefined) return [];
  const home = runners[job.runsAs]?.homeOf(job, run.number, context);
  if (home === undefined || !existsSync(join(home, "secrets"))) return job.said.slice(-lines);
  const { logs } = context.directories(key.instanceId);
  return lastLines(logPath(logs, runHandle(handle, run.number)), home, lines);
}
