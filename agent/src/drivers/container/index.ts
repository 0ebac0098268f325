/**
 * The driver of kind `container`: images of a release as containers of the host's engine, found again by their labels.
 * It asks the engine for nothing that the restricted profile does not hold, whatever a spec says.
 */
import { checkContainerSpec } from "@holdfast/shared/blueprint/kinds/container.ts";
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
import { type Copy, findCopies, findCopy } from "../engine/copies.ts";
import { givenDirOf } from "../engine/given.ts";
import type { ContainerHost } from "../engine/host.ts";
import { pruneImages } from "../engine/image.ts";
import { endMeter, readingsOf, sampleMeter } from "../engine/meter.ts";
import { lastOutput } from "../engine/output.ts";
import type { ContainerSpec } from "../engine/spec.ts";
import { whyMissing } from "../engine/suitable.ts";
import { logFilesIn, readLog, redactorFrom } from "../log-reader.ts";
import { driftOf, RESTORE, restoreSteps } from "./drift.ts";
import { healthOf } from "./health.ts";
import { destroyVolumes, keptVolumes } from "./kept.ts";
import { liveOf } from "./live.ts";
import { prepareStart } from "./prepare.ts";
import { fieldsOf, restoreCopy, watchEngine } from "./restore.ts";
import { signalResource } from "./signal.ts";
import { startCopy } from "./start.ts";
import { DRIVER_KIND, restartSteps, stepsFor } from "./steps.ts";
import { dropInstance, stopCopy } from "./stop.ts";

/** Of a spec without a probe: ready once it runs. */
const READY_AT_ONCE: Readiness = { deadlineMs: 30_000, intervalMs: 200 };
/** Measured or looked at more closely at once. */
const ASKED_AT_ONCE_MAX = 8;

export function containerDriver(host: ContainerHost): Driver {
  return {
    kind: DRIVER_KIND,
    isAtomic: true,
    missing: () => whyMissing(host),
    check: checkContainerSpec,
    observe: (context, scope = "all") => lookAt(host, scope, context),
    observeOne: {
      recorded: (id, context) => lookAt(host, "recorded", context, id),
      all: (id, context) => lookAt(host, "all", context, id),
    },
    prepare: (wanted, context) => prepareStart(host, wanted, context),
    steps: stepsFor,
    restart: restartSteps,
    halts: (live) => stepsFor(live, undefined, undefined, 0),
    drift: ({ fields }, { spec }) => driftOf(fields, host.specs.of(spec)),
    revert: (live, applied) => restoreSteps(live, applied, host.specs.of(applied.spec)),
    watch: (context, changed) => watchEngine(host, context, changed),
    run: (order, context) => runStep(host, order, context),
    health: (live, wanted, context) => healthOf(host, live, wanted, context),
    readiness: ({ spec }) => readinessOf(host.specs.of(spec)),
    readings: (context) => readAll(host, context),
    readingsKept: async (at, context) => endedReadings(DRIVER_KIND).forget(at, context),
    logs: async ({ key, handle }, lines, context) => {
      const copy = await findCopy(host, key.instanceId, handle, context);
      return copy === undefined ? [] : await lastOutput(host, copy, context, lines);
    },
    logFiles: async (context, instanceId) => {
      const following = host.followers.follow(host, context);
      // A step does not wait for the engine to find out what it prints.
      if (instanceId === undefined) await following;
      else following.catch((error: unknown) => notFollowed(error, context));
      return logFilesIn(DRIVER_KIND, context, instanceId);
    },
    readLog: (file, at, bytesMax, context) => readLog(file, at, bytesMax, context),
    redactor: ({ key, handle }, context) => redactorFrom(givenDirOf(host, key, handle, context)),
    drop: (instanceId, context) => dropInstance(host, instanceId, context),
    kept: (context) => keptVolumes(host, context),
    destroy: (instanceId, context, names) => destroyVolumes(host, instanceId, context, names),
  };
}

function readinessOf({ readiness }: ContainerSpec): Readiness {
  const { deadlineMs, intervalMs } = readiness ?? READY_AT_ONCE;
  return { deadlineMs, intervalMs };
}

function notFollowed(error: unknown, { log }: DriverContext): void {
  log.debug({ error: causeChain(error) }, "the output of containers is not followed now");
}

async function runStep(
  host: ContainerHost,
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
        `${order.resourceId}: got ${shown(order.verb)}; the container driver knows start, stop, restore, signal`,
      );
  }
}

async function readAll(
  host: ContainerHost,
  context: DriverContext,
): Promise<readonly DriverReading[]> {
  const at = context.clock.now();
  const copies = await findCopies(host, context);
  const used = new Set(copies.map(({ image }) => image));
  await pruneImages(host, used, context).catch((error: unknown) => {
    context.log.warn({ error: causeChain(error) }, "unused images could not be removed");
  });
  const read = await inParts(copies, async (copy) => {
    const runs = copy.state === "running" || copy.state === "paused";
    const meter = runs ? await sampleMeter(host, copy, context) : undefined;
    if (meter !== undefined) return readingsOf(copy, meter, at);
    if (copy.exit !== undefined) endMeter(copy, copy.exit.at, context);
    return [];
  });
  return [...read.flat(), ...endedReadings(DRIVER_KIND).offer(context)];
}

async function lookAt(
  host: ContainerHost,
  scope: LookScope,
  context: DriverContext,
  instanceId?: string,
): Promise<readonly Live[]> {
  const copies = await findCopies(host, context, instanceId);
  if (scope === "recorded") {
    return await Promise.all(copies.map((copy) => liveOf(host, copy, context)));
  }
  return await inParts(copies, (copy) => comparedOf(host, copy, context));
}

async function comparedOf(host: ContainerHost, copy: Copy, context: DriverContext): Promise<Live> {
  const live = await liveOf(host, copy, context);
  const fields = await fieldsOf(host, copy, context);
  return fields === undefined ? live : { ...live, fields };
}

/** Some at once, so that many do not flood the engine. */
async function inParts<Out>(
  copies: readonly Copy[],
  each: (copy: Copy) => Promise<Out>,
): Promise<readonly Out[]> {
  const out: Out[] = [];
  for (let from = 0; from < copies.length; from += ASKED_AT_ONCE_MAX) {
    out.push(...(await Promise.all(copies.slice(from, from + ASKED_AT_ONCE_MAX).map(each))));
  }
  return out;
}
