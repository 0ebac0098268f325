/**
 * The driver of kind `job`: programs of a release that run to their end, each under a supervisor that notes it. Found
 * again by what is written down and by marks; it runs argument lists, and nothing that is not in a verified artefact.
 */
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import { checkJobSpec } from "@holdfast/shared/blueprint/kinds/job.ts";
import { Fault } from "@holdfast/shared/fault.ts";
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
import { countOf } from "../handles.ts";
import { pruneGroups } from "../host-process/cgroup.ts";
import { type Copy, findRecordedCopies, findSettledCopies } from "../host-process/copies.ts";
import { dropInstance } from "../host-process/end.ts";
import { onHost, whyNoProc } from "../host-process/ground.ts";
import type { ProgramHost } from "../host-process/host.ts";
import { endedOf, endMeter, readingsOf, sampleMeter } from "../host-process/meter.ts";
import { prepareProgram } from "../host-process/prepare.ts";
import { readExit, writeExit } from "../host-process/record.ts";
import { removeRemains } from "../host-process/remains.ts";
import { logFilesIn, readLog, redactorOf } from "../log-reader.ts";
import { lastLines, logPath, tendLogs } from "../logs.ts";
import { healthOf } from "./health.ts";
import { findJobs, jobDir, jobHandleOf, readJob, runHandle } from "./ledger.ts";
import { liveOf } from "./live.ts";
import { DRIVER_KIND, renderedSpecOf } from "./spec.ts";
import { lostJobs } from "./standing.ts";
import { haltOrders, restartSteps, stepsFor } from "./steps.ts";
import { readNotes, SHELL } from "./supervisor.ts";
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

/** A run's folder, with its secrets, stays so long after its end; the job itself stays. */
const RUN_KEPT_MS = 600_000;

export function jobDriver(host: ProgramHost): Driver {
  return {
    kind: DRIVER_KIND,
    isAtomic: false,
    runsToEnd: true,
    missing: async () => whyMissing(host.procDir),
    check: checkJobSpec,
    observe: (context, scope = "all") => lookAt(host, scope, context),
    prepare: async (wanted) => {
      const spec = renderedSpecOf(wanted.spec);
      prepareProgram(host, wanted, spec, spec.undo === undefined ? [] : [spec.undo.argv]);
    },
    steps: stepsFor,
    restart: restartSteps,
    halts: haltOrders,
    // Between its runs nothing of a job stands anywhere, and what a run has done belongs to whom it was done to.
    drift: () => [],
    revert: () => [],
    run: (order, context) => onHost(order.resourceId, () => runStep(host, order, context)),
    health: (live, wanted, context) => healthOf(host, live, wanted, context),
    readiness: () => READINESS,
    readings: (context) => readAll(host, context),
    readingsKept: async (at, context) => endedOf(host.kind).forget(at, context),
    logs: async (live, lines, context) => linesOf(live, lines, context),
    logFiles: async (context, instanceId) => logFilesIn(host.kind, context, instanceId),
    readLog: (file, at, bytesMax, context) => readLog(file, at, bytesMax, context),
    redactor: redactorOf,
    drop: (instanceId, context) =>
      onHost(instanceId, () => dropInstance(host, instanceId, context)),
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
  host: ProgramHost,
  scope: LookScope,
  context: DriverContext,
): Promise<readonly Live[]> {
  const find = scope === "all" ? findSettledCopies : findRecordedCopies;
  const copies = await find(host, context);
  const jobs = findJobs(context);
  return [...jobs, ...lostJobs(jobs, copies)]
    .map((job) => liveOf(job, copies, host.procDir, context))
    .sort((a, b) => a.startedAt - b.startedAt || (a.handle < b.handle ? -1 : 1));
}

async function runStep(
  host: ProgramHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  switch (order.verb) {
    case "run":
      return await runJob(host, order, context);
    case "undo":
      return await undoJob(host, order, context);
    case "arm":
      return await armJob(order, context);
    case "recall":
      return await recallJob(order, context);
    case "start":
      return await startRun(host, order, context);
    case "stop":
      return await stopRun(host, order, context);
    case "settle":
      return await settleJob(host, order, context);
    case "forget":
      return await forgetJob(host, order, context);
    case "halt":
      return await haltJob(host, order, context);
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

/** Runs that have ended are explained, so that no look has to search for them. */
async function readAll(
  host: ProgramHost,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const at = context.clock.now();
  const running: DriverReading[] = [];
  for (const copy of await findSettledCopies(host, context)) {
    const meter = copy.running ? sampleMeter(host.procDir, copy) : undefined;
    if (meter !== undefined) running.push(...readingsOf(copy, meter, at));
    else if (copy.members.length === 0 && copy.process !== undefined) {
      const notes = readNotes(copy.runDir);
      endMeter(copy, notes?.at ?? at, context);
      if (existsSync(copy.runDir) && readExit(copy.runDir) === undefined) {
        writeExit(copy.runDir, { at: notes?.at ?? at, code: notes?.status, signal: undefined });
      }
    }
    tendLogs(context.directories(copy.key.instanceId), copy.handle, context);
    if (isLongOver(copy, at, context)) removeRemains(copy.runDir);
  }
  pruneGroups(host.procDir, context.stateDir);
  return [...running, ...endedOf(host.kind).offer(context)];
}

/** Its end is written down, and whoever ships its output has had the time to take the secrets out of it. */
function isLongOver({ key, handle }: Copy, now: number, context: DriverContext): boolean {
  const job = readJob(jobDir(context, key.instanceId, jobHandleOf(handle)));
  const run = [job?.run, job?.undo].find((each) => each?.number === countOf(handle));
  return run?.end !== undefined && now - run.end.at > RUN_KEPT_MS;
}

/** Of its newest run; once the run's secrets are gone, what was kept of it without them. */
function linesOf({ key, handle }: Live, lines: number, context: DriverContext): readonly string[] {
  const job = readJob(jobDir(context, key.instanceId, handle));
  const run = job?.run;
  if (job === undefined || run === undefined) return [];
  const { logs } = context.directories(key.instanceId);
  const name = runHandle(handle, run.number);
  const runDir = jobDir(context, key.instanceId, name);
  if (!existsSync(join(runDir, "secrets"))) return job.said.slice(-lines);
  return lastLines(logPath(logs, name), runDir, lines);
}
