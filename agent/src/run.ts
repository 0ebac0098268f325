/**
 * Puts the agent together and runs it until it is told to end: store, engine, metering, link, local page. Ends in
 * the opposite order, and never touches a workload on the way out. The only file that knows all parts.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { ArtefactCache } from "./artefacts/cache.ts";
import { Control } from "./assignments/control.ts";
import { Intake } from "./assignments/intake.ts";
import type { AgentConfig } from "./config.ts";
import { openPolicy } from "./consent/open.ts";
import type { Driver, DriverContext } from "./drivers/driver.ts";
import { type ProcessHost, processDriver } from "./drivers/process/index.ts";
import { startLink } from "./link/link.ts";
import type { FetchPort, Identity, IdentityPort } from "./link/port.ts";
import { instanceDirectories } from "./local/directories.ts";
import { localReport } from "./local/report.ts";
import { localSecrets } from "./local/secrets.ts";
import { startLocalServer } from "./local/server.ts";
import { UsageReport } from "./metering/report.ts";
import { runSampler } from "./metering/sampler.ts";
import { createRegistry, serveMetrics } from "./metrics.ts";
import { Engine } from "./reconcile/engine.ts";
import { storeJournal } from "./reconcile/journal.ts";
import { figuresOf, sampledInstances } from "./reconcile/observe.ts";
import { openStore, type Store } from "./store/database.ts";
import * as facts from "./store/facts.ts";
import * as identities from "./store/identity.ts";
import { Outbox } from "./store/outbox.ts";
import {
  checkStateDirectory,
  SOCKET_FILE,
  STORE_FILE,
  type StateHost,
  takeLock,
} from "./store/state-directory.ts";

/** What main.ts takes from its own process. */
export type AgentHost = StateHost &
  Readonly<{
    process: Omit<ProcessHost, "onChange">;
    bootId: string;
    /** Such as linux/x64. */
    platform: string;
    version: string;
  }>;

/** Content that nothing needs any more is looked for this often. */
const PRUNE_INTERVAL_MS = 3_600_000;

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
    try {
      if (damaged !== undefined) facts.putDamaged(store, damaged);
      await runOn(store, loadIdentity(store), config, host, log, signal);
    } finally {
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

async function runOn(
  store: Store,
  identity: Identity,
  config: AgentConfig,
  host: AgentHost,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const { stateDir } = config;
  const clock = systemClock;
  const random = Math.random;
  const stop = new AbortController();
  const late: { fetch?: FetchPort; engine?: Engine } = {};
  const fetch = lateFetch(() => late.fetch);
  const driver = processDriver({
    ...host.process,
    onChange: (instanceId) => late.engine?.wake(instanceId),
  });
  const known = new Map<string, Driver>([[driver.kind, driver]]);
  const missing = await missingDrivers(known);
  const context: DriverContext = {
    log,
    clock,
    random,
    signal: stop.signal,
    stateDir,
    directories: (instanceId) => instanceDirectories(stateDir, instanceId),
  };
  const drivers = new Map([...known].filter(([kind]) => missing.get(kind) === undefined));
  const engine = new Engine({
    ...{ store, clock, random, log, drivers, context },
    journal: storeJournal(store),
    missingDrivers: new Map([...missing].map(([kind, why]) => [kind, why ?? "unknown"])),
    artefacts: new ArtefactCache(stateDir, fetch),
    consent: openPolicy(config.deny),
    secrets: localSecrets(config.localSecretsDir, host.uid),
    intervalMs: config.reconcileIntervalMs,
  });
  late.engine = engine;
  const { vendorId, cellId } = identity;
  const intake = new Intake({
    ...{ store, fetch, clock, random, log },
    addressee: { vendorId, cellId },
    signal: stop.signal,
    changed: (instanceId) => engine.wake(instanceId),
  });
  const identityPort: IdentityPort = {
    identity: () => identities.load(store),
    renewed: (tlsKey, certificate) => identities.replaceCertificate(store, tlsKey, certificate),
  };
  const control = new Control({
    ...{ store, engine, intake, clock, log },
    identity: () => identityPort.identity(),
    agentVersion: host.version,
    bootId: host.bootId,
    platform: host.platform,
    drivers: new Map([...known.keys()].map((kind) => [kind, missing.get(kind)])),
  });
  const outbox = new Outbox(store.db);
  const report = new UsageReport({
    ...{ outbox, log },
    identity: () => identityPort.identity(),
    batchBell: new Doorbell(clock),
    bootId: host.bootId,
    nonce: () => randomBytes(16),
  });
  const local = await startLocalServer(join(stateDir, SOCKET_FILE), () =>
    localReport(store, {
      running: true,
      pid: host.pid,
      version: host.version,
      statuses: engine.statuses().map(({ status }) => status),
    }),
  );
  const metrics =
    config.metricsListen &&
    (await serveMetrics(
      createRegistry(() => figuresOf(store, engine)),
      config.metricsListen,
    ));
  engine.start();
  const sampler = runSampler(
    {
      ...{ clock, log },
      outbox: {
        lastEnd: (digest) => outbox.lastEnd(digest),
        append: (records) => outbox.append(records),
        rollUp: (now) => outbox.rollUp(now),
      },
      windowMs: config.sampleWindowMs,
      instances: () => sampledInstances(store, engine, drivers),
      readings: async () => {
        const all = await Promise.all([...drivers.values()].map((each) => each.readings(context)));
        return all.flat();
      },
      readingsKept: async (at) => {
        for (const each of drivers.values()) await each.readingsKept(at, context);
        report.batchBell.ring();
      },
    },
    stop.signal,
  );
  const pruning = pruneRegularly(engine, stop.signal);
  const link = startLink({ identity: identityPort, control, report, clock, random, log });
  late.fetch = link.fetch;
  log.info({ agent: identity.agentId, cell: cellId, pid: host.pid }, "agent started");
  await aborted(signal);
  log.info({}, "agent ends; workloads go on");
  // First nothing new comes in, then loops reach their safe points, then nobody needs the store.
  const ended = (async () => {
    await link.stop();
    stop.abort();
    await Promise.all([engine.stop(), sampler, pruning]);
    metrics?.close();
    await local.close();
  })();
  const deadline = new AbortController();
  await Promise.race([
    ended,
    clock.sleep(config.shutdownMsMax, deadline.signal).then(() => {
      if (deadline.signal.aborted) return;
      log.warn(
        { msMax: config.shutdownMsMax },
        "not ended in time; the journal says where to go on",
      );
    }),
  ]);
  deadline.abort();
}

/** The link is made last, since it needs all the others; until then there is none. */
function lateFetch(find: () => FetchPort | undefined): FetchPort {
  const present = () => {
    const found = find();
    if (found !== undefined) return found;
    throw new Fault("UNAVAILABLE", "LINK_DOWN", "the agent has not connected yet");
  };
  return {
    fetchRelease: async (digest, signal) => await present().fetchRelease(digest, signal),
    async *fetchArtefact(digest, offset, signal) {
      yield* present().fetchArtefact(digest, offset, signal);
    },
  };
}

async function missingDrivers(
  known: ReadonlyMap<string, Driver>,
): Promise<ReadonlyMap<string, string | undefined>> {
  const missing = new Map<string, string | undefined>();
  for (const [kind, driver] of known) {
    const why = await driver.missing();
    if (why !== undefined) missing.set(kind, why);
  }
  return missing;
}

async function pruneRegularly(engine: Engine, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await systemClock.sleep(PRUNE_INTERVAL_MS, signal);
    if (!signal.aborted) await engine.pruneArtefacts();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
