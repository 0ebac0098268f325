/**
 * Puts the agent together and runs it until it is told to end: store, engine, metering, link, local page. Ends in
 * the opposite order, and never touches a workload on the way out. The only file that knows all parts.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type Random, systemClock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { FlightRecorder } from "@holdfast/shared/flight/recorder.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { ArtefactCache } from "./artefacts/cache.ts";
import { Control } from "./assignments/control.ts";
import { HubTime } from "./assignments/hub-time.ts";
import { Intake } from "./assignments/intake.ts";
import type { AgentConfig } from "./config.ts";
import { openPolicy } from "./consent/open.ts";
import type { Fence } from "./drivers/claimed.ts";
import type { DriverContext } from "./drivers/driver.ts";
import type { ProgramGround } from "./drivers/host-process/host.ts";
import { type Drivers, findDrivers } from "./drivers-here.ts";
import { agentFigures } from "./figures.ts";
import { type FlyingHost, startRecorder } from "./flight.ts";
import { lateFetch } from "./link/late-fetch.ts";
import { type Link, startLink } from "./link/link.ts";
import type { FetchPort, Identity, IdentityPort, OutputPort } from "./link/port.ts";
import { isAdopting } from "./local/adopting.ts";
import { instanceDirectories } from "./local/directories.ts";
import { workplaceOf } from "./local/workplace.ts";
import { UsageReport } from "./metering/report.ts";
import { Sampler, type SamplerDeps } from "./metering/sampler.ts";
import { type AgentMetrics, createMetrics } from "./metrics.ts";
import { showOutput } from "./output/show.ts";
import { servePages } from "./pages.ts";
import type { Measured } from "./reconcile/conditions.ts";
import { Engine } from "./reconcile/engine.ts";
import { storeJournal, watchedJournal } from "./reconcile/journal.ts";
import { sampledInstances } from "./reconcile/observe.ts";
import { localSecrets } from "./secrets/local.ts";
import { ensureSealingIdentity } from "./secrets/sealing-key.ts";
import { agentSecrets } from "./secrets/secrets.ts";
import { claim, isOutbid } from "./store/claims.ts";
import { openStore, type Store } from "./store/database.ts";
import * as facts from "./store/facts.ts";
import * as identities from "./store/identity.ts";
import { Outbox } from "./store/outbox.ts";
import {
  checkStateDirectory,
  STORE_FILE,
  type StateHost,
  takeLock,
} from "./store/state-directory.ts";
import { AgentTelemetry } from "./telemetry/telemetry.ts";

/** What main.ts takes from its own process. */
export type AgentHost = StateHost &
  FlyingHost &
  Readonly<{
    process: ProgramGround;
    random: Random;
    bootId: string;
    /** Such as linux/x64. */
    platform: string;
    /** Gives memory that is not used any more back to the host; stops everything for some 30 ms. */
    giveBackMemory(): void;
  }>;

/** Content that nothing needs any more is looked for this often. */
const PRUNE_INTERVAL_MS = 3_600_000;
/** A start is over by then, and what it needed and left behind is several MiB. */
const START_MS = 10_000;
const LIFE_BYTES = 9;

/** Resolves once `signal` is aborted and everything has ended. Throws a Fault if it cannot start. */
export async function runAgent(
  config: AgentConfig,
  host: AgentHost,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const { stateDir } = config;
  const warning = checkStateDirectory(stateDir, host.uid);
  if (warning !== undefined) log.warn({}, warning);
  if (!existsSync(join(stateDir, STORE_FILE))) throw identities.notEnrolled(stateDir);
  const lock = takeLock(stateDir, host);
  try {
    const { store, damaged } = openStore(join(stateDir, STORE_FILE), systemClock.now());
    const recorder = startRecorder(stateDir, host, systemClock, log);
    try {
      if (damaged !== undefined) facts.putDamaged(store, damaged);
      await runOn(store, loadIdentity(store), config, host, { log, recorder }, signal);
    } finally {
      recorder.end("stopped");
      store.close();
    }
  } finally {
    lock.release();
  }
}

/** A damaged store takes the identity with it: nothing may change, and whatever runs goes on. */
function loadIdentity(store: Store): Identity {
  const identity = identities.find(store);
  const damaged = facts.findDamaged(store);
  if (identity !== undefined || damaged === undefined) return identities.load(store);
  throw new Fault(
    "FAILED_PRECONDITION",
    "STORE_DAMAGED",
    `the store was damaged and is set aside as ${damaged}; workloads go on, nothing can change`,
    { next: "ask the vendor for a join token, then: holdfast-agent enroll" },
  );
}

/** What all parts stand on. */
type Ground = Readonly<{
  store: Store;
  identity: Identity;
  config: AgentConfig;
  host: AgentHost;
  log: Log;
  recorder: FlightRecorder;
  clock: Clock;
  random: Random;
  context: DriverContext;
  /** Random, of this process alone: what came before a restart and what comes after it differ in it. */
  life: string;
  /** Aborted once the link is down: from then on nothing new begins. */
  stop: AbortController;
  /** How each instance's last window was measured. */
  measured: Map<string, Measured>;
  telemetry: AgentTelemetry;
  metrics: AgentMetrics;
  /** There may be something to report. */
  reportBell: Doorbell;
  hubTime: HubTime;
  /** Parts that others refer to before they exist. */
  late: { fetch?: FetchPort; engine?: Engine; link?: Link; sampler?: Sampler };
}>;

async function runOn(
  store: Store,
  identity: Identity,
  config: AgentConfig,
  host: AgentHost,
  { log, recorder }: Readonly<{ log: Log; recorder: FlightRecorder }>,
  signal: AbortSignal,
): Promise<void> {
  const clock = systemClock;
  const { random } = host;
  const stop = new AbortController();
  const workplace = workplaceOf(store, config.stateDir);
  const context: DriverContext = {
    ...{ log, clock, random, stateDir: workplace },
    signal: stop.signal,
    directories: (instanceId) => instanceDirectories(workplace, instanceId),
  };
  const late: Ground["late"] = {};
  const measured: Ground["measured"] = new Map();
  const reportBell = new Doorbell(clock);
  const outbox = new Outbox(store.db);
  const life = randomBytes(LIFE_BYTES).toString("hex");
  const metrics = createMetrics(() => agentFigures({ ...ground, outbox }));
  store.watch = { monotonic: clock.monotonic, written: metrics.storeWritten };
  const telemetry = new AgentTelemetry({
    ...{ stateDir: workplace, context, clock, log, shipsLogs: config.shipLogs },
    life,
    ring: () => reportBell.ring(),
    lost: metrics.telemetryLost,
  });
  const ground: Ground = {
    ...{ store, identity, config, host, log, recorder, clock, random, context, metrics },
    ...{ life, stop, measured, late, reportBell, telemetry, hubTime: new HubTime(store, clock) },
  };
  await ensureSealingIdentity(store);
  const fence = fenceOf(ground);
  const drivers = await findDrivers({ ...ground, wake: (id) => late.engine?.wake(id) }, fence);
  const fetch = lateFetch(() => late.fetch);
  const engine = engineOn(ground, drivers, fetch, outbox);
  late.engine = engine;
  const identityPort: IdentityPort = {
    identity: () => identities.load(store),
    renewed: (tlsKey, certificate) => identities.replaceCertificate(store, tlsKey, certificate),
  };
  const report = reportOn(ground, outbox, identityPort);
  const pages = await servePages(ground, engine);
  const isFenced = fence.isFenced();
  if (isFenced) fence.fenced();
  else claim(workplace, identity);
  const acting = isFenced ? [] : startActing(ground, engine, drivers, outbox);
  const control = controlOn(ground, engine, drivers, fetch, fence);
  const output = outputOn(ground, engine);
  const told = { report, telemetry: telemetry.report, output };
  const parts = { identity: identityPort, control, ...told, recorder };
  const link = startLink({ ...parts, clock, random, log, watch: metrics }, isFenced);
  late.fetch = link.fetch;
  late.link = link;
  log.info({ agent: identity.agentId, cell: identity.cellId, pid: host.pid }, "agent started");
  await aborted(signal);
  log.info({}, "agent ends; workloads go on");
  // First nothing new comes in, then loops reach their safe points, then nobody needs the store.
  const ended = (async () => {
    await link.stop();
    stop.abort();
    await Promise.all([engine.stop(), ...acting]);
    await pages.close();
  })();
  await inTime(ground, ended);
}

function reportOn({ log, reportBell, host }: Ground, outbox: Outbox, port: IdentityPort) {
  return new UsageReport({
    ...{ outbox, log },
    identity: () => port.identity(),
    batchBell: reportBell,
    bootId: host.bootId,
    nonce: () => randomBytes(16),
  });
}

/** Whether another agent has this one's cell, as the hub said or as its claim on this host does. */
function fenceOf({ store, identity, context, clock, log, stop, late }: Ground): Fence {
  let isTold = false;
  return {
    isFenced: () =>
      facts.findFenced(store) !== undefined || isOutbid(context.stateDir, identity.fencing),
    fenced: () => {
      if (isTold) return;
      isTold = true;
      facts.putFenced(store, clock.now());
      log.warn({}, "another agent has taken over this cell: workloads are not touched any more");
      // Loops end at their safe points; what they would still begin the drivers refuse.
      stop.abort();
      void late.engine?.stop();
      late.link?.drain();
    },
  };
}

/** Everything that looks after workloads; ends when `stop` is aborted. */
function startActing(
  ground: Ground,
  engine: Engine,
  drivers: Drivers,
  outbox: Outbox,
): readonly Promise<void>[] {
  const { stop, telemetry } = ground;
  const sampler = samplerOn(ground, engine, drivers, outbox);
  ground.late.sampler = sampler;
  engine.start();
  return [
    sampler.run(stop.signal),
    tidyRegularly(engine, ground, stop.signal),
    telemetry.run([...drivers.usable.values()], () => engine.statuses(), stop.signal),
  ];
}

function engineOn(ground: Ground, drivers: Drivers, fetch: FetchPort, outbox: Outbox): Engine {
  const { store, clock, random, log, recorder, context, config, host, measured, hubTime } = ground;
  const missing = [...drivers.known].flatMap(([kind, why]) =>
    why === undefined ? [] : [[kind, why] as const],
  );
  return new Engine({
    ...{ store, clock, random, log, recorder, context },
    drivers: drivers.usable,
    missingDrivers: new Map(missing),
    journal: watchedJournal(storeJournal(store), ground.metrics.attemptEnded),
    artefacts: new ArtefactCache(context.stateDir, fetch),
    consent: openPolicy(config.deny, config.processUsers, config.fileRoots, {
      mounts: config.containerMounts,
      registries: config.containerRegistries,
    }),
    secrets: agentSecrets(
      store,
      ground.identity.agentId,
      localSecrets(config.localSecretsDir, host.uid),
    ),
    measured: (instanceId) => measured.get(instanceId),
    deletionBudget: config.deletionBudget,
    addressee: { vendorId: ground.identity.vendorId, cellId: ground.identity.cellId },
    usage: {
      measure: async (instanceId) => await ground.late.sampler?.measure(instanceId),
      stream: () => outbox.state(),
    },
    hubNow: hubTime.now,
    intervalMs: config.reconcileIntervalMs,
  });
}

function outputOn({ store, clock, log, config }: Ground, { outputs }: Engine): OutputPort {
  const deps = { store, outputs, clock, log, stays: config.outputStays };
  return { show: (ask, signal) => showOutput(deps, ask, signal) };
}

function controlOn(
  ground: Ground,
  engine: Engine,
  drivers: Drivers,
  fetch: FetchPort,
  fence: Fence,
): Control {
  const { store, clock, random, log, identity, host, stop, hubTime } = ground;
  const { vendorId, cellId, agentId } = identity;
  const intake = new Intake({
    ...{ store, fetch, clock, random, log },
    addressee: { vendorId, cellId },
    agentId,
    signal: stop.signal,
    makeRoom: () => engine.forgetRemoved("one"),
    changed: (instanceId) => engine.wake(instanceId),
  });
  return new Control({
    ...{ store, engine, intake, hubTime, clock, log },
    identity: () => identities.load(store),
    agentVersion: host.version,
    bootId: host.bootId,
    life: ground.life,
    platform: host.platform,
    drivers: drivers.known,
    takenOver: () => fence.fenced(),
  });
}

function samplerOn(
  { clock, log, config, context, store, measured, telemetry, metrics, reportBell }: Ground,
  engine: Engine,
  { usable }: Drivers,
  outbox: Outbox,
): Sampler {
  const drivers = [...usable.values()];
  const deps: SamplerDeps = {
    ...{ clock, log },
    outbox: {
      lastEnd: (digest) => outbox.lastEnd(digest),
      append: (records) => {
        const startMs = clock.monotonic();
        outbox.append(records);
        metrics.storeWritten(clock.monotonic() - startMs);
        telemetry.used(records);
      },
      rollUp: (now) => outbox.rollUp(now),
    },
    windowMs: config.sampleWindowMs,
    instances: () => sampledInstances(store, engine, usable),
    readings: async () => {
      const all = await Promise.all(drivers.map((driver) => driver.readings(context)));
      const readings = all.flat();
      telemetry.measured(readings, engine.statuses());
      return readings;
    },
    measured: (instanceId, trouble) => void measured.set(instanceId, { trouble }),
    readingsKept: async (at) => {
      reportBell.ring();
      if (isAdopting(store)) return;
      for (const driver of drivers) await driver.readingsKept(at, context);
    },
  };
  return new Sampler(deps);
}

/** Waits until all has ended, but not for ever: what is cut off is in the journal. */
async function inTime({ clock, log, config }: Ground, ended: Promise<void>): Promise<void> {
  const deadline = new AbortController();
  const late = clock.sleep(config.shutdownMsMax, deadline.signal).then(() => {
    if (deadline.signal.aborted) return;
    log.warn({ msMax: config.shutdownMsMax }, "not ended in time; the next start goes on");
  });
  await Promise.race([ended, late]);
  deadline.abort();
}

async function tidyRegularly(
  engine: Engine,
  { host, log }: Ground,
  signal: AbortSignal,
): Promise<void> {
  await systemClock.sleep(START_MS, signal);
  while (!signal.aborted) {
    host.giveBackMemory();
    await systemClock.sleep(PRUNE_INTERVAL_MS, signal);
    if (signal.aborted) return;
    await engine.pruneArtefacts().catch((error: unknown) => {
      log.warn({ error: causeChain(error) }, "unused artefacts could not be removed");
    });
    try {
      engine.forgetRemoved("due");
    } catch (error) {
      log.warn({ error: causeChain(error) }, "removed instances could not be forgotten");
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
