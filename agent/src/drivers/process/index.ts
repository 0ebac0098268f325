/**
 * The driver of kind `process`: programs of a release as processes of this host, in sessions of their own, found
 * again by record or marks. It runs argument lists, never a shell, and nothing that is not in a verified artefact.
 */
import { join } from "node:path";
import { checkProcessSpec } from "@holdfast/shared/blueprint/kinds/process.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  type Driver,
  type DriverContext,
  type DriverReading,
  type Readiness,
  STANDING_VERBS,
  type StepContext,
  type StepOrder,
  type StepOutcome,
} from "../driver.ts";
import { endedReadings } from "../ended.ts";
import { pruneGroups } from "../host-process/cgroup.ts";
import { findRecordedCopies, findSettledCopies } from "../host-process/copies.ts";
import { dropInstance } from "../host-process/end.ts";
import { driftOf } from "../host-process/fields.ts";
import { onHost, whyNoProc } from "../host-process/ground.ts";
import { endMeter, readingsOf, sampleMeter } from "../host-process/meter.ts";
import { logFilesIn, readLog, redactorOf } from "../log-reader.ts";
import { lastLines, logPath, tendLogs } from "../logs.ts";
import { healthOf } from "./health.ts";
import { DRIVER_KIND, type ProcessHost } from "./host.ts";
import { destroyData, keptData } from "./kept.ts";
import { comparedOf, liveOf } from "./live.ts";
import { prepareStart } from "./prepare.ts";
import { RESTORE, restoreCopy, restoreSteps } from "./restore.ts";
import { signalResource } from "./signal.ts";
import type { ProcessSpec } from "./spec.ts";
import { startCopy } from "./start.ts";
import { restartSteps, stepsFor } from "./steps.ts";
import { stopCopy } from "./stop.ts";

export { type ProcessHost, processHost } from "./host.ts";

/** Of a spec without a probe: ready once it runs. */
const READY_AT_ONCE: Readiness = { deadlineMs: 30_000, intervalMs: 200 };

/**
 * Without memory but for the ends of its own children and the pace of its probes: two of them over one state directory
 * see and do the same.
 */
export function processDriver(host: ProcessHost): Driver {
  const { procDir } = host;
  return {
    kind: DRIVER_KIND,
    isAtomic: true,
    missing: async () => whyNoProc(procDir),
    check: checkProcessSpec,
    observe: async (context, scope = "all") => {
      if (scope === "recorded") {
        return (await findRecordedCopies(host, context)).map((copy) => liveOf(copy, context));
      }
      const copies = await findSettledCopies(host, context);
      return copies.map((copy) => comparedOf(procDir, copy, context));
    },
    observeOne: {
      recorded: async (id, context) =>
        (await findRecordedCopies(host, context, id)).map((copy) => liveOf(copy, context)),
    },
    prepare: (wanted, context) =>
      onHost(wanted.key.resourceId, () => prepareStart(host, wanted, context)),
    steps: stepsFor,
    restart: restartSteps,
    halts: (live) => stepsFor(live, undefined, undefined, 0),
    drift: ({ fields }, { spec }) => driftOf(fields, host.specs.of(spec)),
    revert: (live, applied) =>
      restoreSteps(live, applied, driftOf(live.fields, host.specs.of(applied.spec))),
    run: (order, context) => onHost(order.resourceId, () => runStep(host, order, context)),
    health: (live, wanted, context) => healthOf(host, live, wanted, context),
    readiness: ({ spec }) => readinessOf(host.specs.of(spec)),
    readings: (context) => readAll(host, context),
    readingsKept: async (at, context) => endedReadings(host.kind).forget(at, context),
    logs: async (live, lines, context) => {
      const { logs, run } = context.directories(live.key.instanceId);
      return lastLines(logPath(logs, live.handle), join(run, live.handle), lines);
    },
    logFiles: async (context, instanceId) => logFilesIn(host.kind, context, instanceId),
    readLog: (file, at, bytesMax, context) => readLog(file, at, bytesMax, context),
    redactor: redactorOf,
    drop: (instanceId, context) =>
      onHost(instanceId, () => dropInstance(host, instanceId, context)),
    kept: (context, isAsked) => onHost("data", () => keptData(context, isAsked)),
    destroy: (instanceId, context, names) =>
      onHost(instanceId, () => destroyData(instanceId, context, names)),
  };
}

function readinessOf({ readiness }: ProcessSpec): Readiness {
  const { deadlineMs, intervalMs } = readiness ?? READY_AT_ONCE;
  return { deadlineMs, intervalMs };
}

async function runStep(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  switch (order.verb) {
    case "start":
      return await startCopy(host, order, context);
    case "stop":
      return await stopCopy(host, order, context);
    case RESTORE:
      return await restoreCopy(host, order, context);
    case STANDING_VERBS.signal:
      return await signalResource(host, order, context);
    default:
      throw new Fault(
        "UNIMPLEMENTED",
        "VERB_UNKNOWN",
        `${order.resourceId}: got ${shown(order.verb)}; the process driver knows start, stop, restore, signal`,
      );
  }
}

async function readAll(
  host: ProcessHost,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const at = context.clock.now();
  const running: DriverReading[] = [];
  for (const copy of await findSettledCopies(host, context)) {
    const meter = copy.running ? sampleMeter(host.procDir, copy) : undefined;
    if (meter !== undefined) running.push(...readingsOf(copy, meter, at));
    else if (!copy.running) endMeter(copy, liveOf(copy, context).exitedAt ?? at, context);
    tendLogs(context.directories(copy.key.instanceId), copy.handle, context);
  }
  pruneGroups(host.procDir, context.stateDir);
  return [...running, ...endedReadings(host.kind).offer(context)];
}
