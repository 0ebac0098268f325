/**
 * The hub as a running program: opens the listeners over its parts, starts the tasks, and takes all of it
 * apart in order and within a deadline. Composition only; no rules.
 */
import { sign } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { errnoMeaning, type ListenAddress } from "@holdfast/shared/settings.ts";
import type { DispatchDeps } from "./api/dispatch.ts";
import { listenMetrics, type MetricsServer } from "./api/metrics-server.ts";
import { plainListener, withSecurityHeaders } from "./api/plain.ts";
import { apiListener } from "./api/routes.ts";
import { type ApiServer, listenApi } from "./api/server.ts";
import { createRequestValidator } from "./api/validation.ts";
import type { AppDeps, Endpoints } from "./app/deps.ts";
import type { Keyring } from "./app/keyring.ts";
import { identityHub } from "./app/link/identity.ts";
import { linkHub } from "./app/link/link-hub.ts";
import { signIn } from "./app/sign-in.ts";
import type { HubConfig } from "./config.ts";
import { type FlyingHost, startRecorder } from "./flight.ts";
import { type HubParts, type HubState, openParts, type Servers } from "./hub-parts.ts";
import { startIdentityServer } from "./link/identity-server.ts";
import { admissionBounds, startLinkServer } from "./link/link-server.ts";
import { createMetrics, type FleetFigures, type HubFigures, type HubMetrics } from "./metrics.ts";
import { type DatabaseHost, openHubDatabase } from "./open-database.ts";
import { startExporter } from "./otlp/exporter.ts";
import type { HubMetric, TelemetryExport } from "./otlp/port.ts";
import { replaceFile } from "./replace-file.ts";
import { hubContext, taskContext } from "./store/context.ts";
import { poolUse, renewContextKey } from "./store/database.ts";
import * as owners from "./store/instance-owners.ts";
import { readWithContext } from "./store/tx.ts";
import * as vendors from "./store/vendors.ts";
import { runExpireActions } from "./tasks/expire-actions.ts";
import { runFleetLook } from "./tasks/fleet-look.ts";
import { runPrune } from "./tasks/prune.ts";
import { runRelay } from "./tasks/relay.ts";
import { runSequencer } from "./tasks/sequencer.ts";

export type ServeHost = DatabaseHost &
  FlyingHost &
  Readonly<{
    /** To people, on standard output. */
    print(line: string): void;
  }>;

/** Half of the life of a context key; see CONTEXT_KEY_LIFE_MS_MAX. */
const KEY_RENEWAL_MS = 11 * 3_600_000;
const CERTIFICATE_CHECK_MS = 3_600_000;
/** Also how long two processes of one hub may hold different ticket keys. */
const TICKET_KEYS_CHECK_MS = 600_000;
const VENDOR_CHECK_MS = 5_000;
const READINESS_MS_MAX = 2_000;
const RETRY = { baseMs: 500, capMs: 30_000 };

/** Serves until the signal, then stops in order. Throws what keeps it from starting. */
export async function serve(
  config: HubConfig,
  host: ServeHost,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const { database, close } = await openHubDatabase(config, host, false);
  try {
    const parts = await openParts(config, host, database);
    await serveParts(config, host, parts, signal).finally(() => parts.app.telemetry.close());
  } finally {
    await close();
    host.log.info({}, "stopped");
  }
}

/** The same over parts that the caller has opened, and closes. */
export async function serveParts(
  config: HubConfig,
  host: ServeHost,
  { app, keyring, bells, state }: HubParts,
  signal: AbortSignal,
): Promise<void> {
  const servers: Serving = {};
  const seen: { fleet?: FleetFigures | undefined } = {};
  const metrics = createMetrics(() => ({
    ...hubFigures(app, state, servers.link?.connected, seen.fleet),
    otlpWaitingBytes: servers.otlp?.waitingBytes,
  }));
  app.database.watch = metrics.databaseEnded;
  const recorder = startRecorder(config.dataDir, host);
  const stopping = new AbortController();
  const listenerDeps = (at: ListenAddress) => ({
    ...at,
    clock: host.clock,
    random: host.random,
    log: host.log,
    tls: () => ({ ...state.certificate(), ticketKeys: keyring.ticketKeys }),
    authorities: () => keyring.authorities(),
    admission: admissionBounds(config.handshakesPerSecond, config.addressHandshakesPerSecond),
    watch: metrics,
  });
  const tasks: Promise<void>[] = [];
  try {
    servers.otlp = openExport(config, host, app, metrics);
    const kept = servers.otlp?.take;
    servers.link = await listening("link_listen", config.linkListen, (at) =>
      startLinkServer({
        ...listenerDeps(at),
        hub: linkHub(app, { ...metrics, kept }),
        recorder,
      }),
    );
    servers.identity = await listening("identity_listen", config.identityListen, (at) =>
      startIdentityServer({ ...listenerDeps(at), hub: identityHub(app) }),
    );
    const { link, identity } = servers;
    const apiParts = { app, keyring, metrics, state, stopping };
    servers.api = await listening("api_listen", config.apiListen, () => startApi(config, apiParts));
    servers.metrics = await startMetrics(config, apiParts);
    state.listening(servers as Servers);
    keyring.onNewVendors(() => {
      link.reload();
      identity.reload();
    });
    tasks.push(
      ...startTasks(host, { app, keyring, bells, state }, stopping.signal),
      runFleetLook(
        { ...app, seen: (figures) => void Object.assign(seen, { fleet: figures }) },
        stopping.signal,
      ),
    );
    await writeEndpoints(config, state.endpoints(), host.pid);
    host.log.info({ ...state.endpoints(), incarnation: app.incarnation.toString() }, "serving");
    await aborted(signal);
  } finally {
    host.log.info({ deadlineMs: config.shutdownMsMax }, "stopping");
    await rm(endpointsPath(config), { force: true });
    state.isStopping = true;
    stopping.abort();
    await stopServers(servers, config.shutdownMsMax, host.clock);
    recorder.end("stopped");
    await Promise.allSettled(tasks);
  }
}

async function startMetrics(
  { metricsListen }: HubConfig,
  parts: ApiParts,
): Promise<MetricsServer | undefined> {
  if (metricsListen === undefined) return undefined;
  const listener = withSecurityHeaders(plainListener(plainDeps(parts)));
  return listening("metrics_listen", metricsListen, (at) => listenMetrics(at, listener));
}

function openExport(
  { otlp }: HubConfig,
  { clock, random, log }: ServeHost,
  { database, version, replica }: AppDeps,
  metrics: HubMetrics,
): TelemetryExport | undefined {
  if (otlp === undefined) return undefined;
  return startExporter({
    ...{ settings: otlp, clock, random, log, maker: { version, replica } },
    find: (vendorId, ids) =>
      readWithContext(database, taskContext(vendorId, "export"), (tx) => owners.list(tx, ids)),
    counted: metrics.exported,
    hubMetrics: async (): Promise<readonly HubMetric[]> => {
      const all = await metrics.registry.getMetricsAsJSON();
      return all.map((metric) => ({ ...metric, type: String(metric.type) }) as HubMetric);
    },
  });
}

/** Throws FAILED_PRECONDITION `CANNOT_LISTEN`, naming the setting, if the address cannot be taken. */
async function listening<T>(
  setting: string,
  at: ListenAddress,
  start: (at: ListenAddress) => Promise<T>,
): Promise<T> {
  try {
    return await start(at);
  } catch (error) {
    const isListen = error instanceof Error && "syscall" in error && error.syscall === "listen";
    if (!isListen) throw error;
    const message = `${setting}: ${at.host}:${at.port}: ${errnoMeaning(error)}`;
    throw new Fault("FAILED_PRECONDITION", "CANNOT_LISTEN", message, { cause: error });
  }
}

type Serving = Partial<Servers> & {
  metrics?: MetricsServer | undefined;
  otlp?: TelemetryExport | undefined;
};

/** Intake first, then the agents, each with its share of the deadline; what they told last has the rest of it. */
async function stopServers(servers: Serving, msMax: number, clock: Clock): Promise<void> {
  const began = clock.monotonic();
  const share = msMax / (servers.otlp === undefined ? 2 : 3);
  await Promise.allSettled([
    servers.api?.close(share),
    servers.identity?.stop(share),
    servers.metrics?.close(),
  ]);
  await servers.link?.stop(share);
  await servers.otlp?.close(Math.max(0, msMax - (clock.monotonic() - began)));
}

/** What the API's port needs. */
export type ApiParts = Readonly<{
  app: AppDeps;
  keyring: Keyring;
  metrics: HubMetrics;
  state: HubState;
  stopping: AbortController;
}>;

export function startApi(config: HubConfig, parts: ApiParts): Promise<ApiServer> {
  const { app, keyring, metrics, state, stopping } = parts;
  const dispatch: DispatchDeps = {
    clock: app.clock,
    log: app.log,
    validator: createRequestValidator(),
    authenticate: (authorization) =>
      signIn({ database: app.database, vendorName: (id) => keyring.vendorName(id) }, authorization),
    ended: (method, code, durationMs) => metrics.callEnded(method, code, durationMs),
  };
  const plain = plainDeps(parts);
  const isElsewhere = config.metricsListen !== undefined;
  const fallback = plainListener({
    readiness: plain.readiness,
    metrics: isElsewhere ? undefined : plain.metrics,
  });
  const listener = apiListener({
    app,
    dispatch,
    isServing: () => !state.isStopping,
    shutdown: stopping.signal,
    fallback,
  });
  const { privateKey, certificate } = state.certificate();
  const pair = { key: privateKey, certificate };
  return listenApi(config.apiListen, pair, withSecurityHeaders(listener), {
    clock: app.clock,
    calmed: (excess) => metrics.calmed("api", excess),
  });
}

function plainDeps({ app, state, metrics }: ApiParts) {
  return { readiness: () => readiness(app, state), metrics: metrics.expose };
}

export function hubFigures(
  app: AppDeps,
  state: HubState,
  agentsConnected = 0,
  fleet?: FleetFigures,
): HubFigures {
  return {
    ...{ agentsConnected, fleet, version: app.version, incarnation: app.incarnation },
    certificateEndsAtMs: state.certificate().notAfter,
    pool: poolUse(app.database),
    otlpWaitingBytes: undefined,
    telemetryWaitingBytes: app.telemetry.waitingBytes,
  };
}

async function readiness(app: AppDeps, { isStopping }: HubState) {
  if (isStopping) return { ready: false, message: "stopping" };
  const asked = readWithContext(app.database, hubContext("readiness"), vendors.list);
  const answered = new AbortController();
  const slow = app.clock.sleep(READINESS_MS_MAX, answered.signal).then(() => "slow" as const);
  const answer = await Promise.race([asked.catch(() => "down" as const), slow]);
  answered.abort();
  if (answer === "slow" || answer === "down") return { ready: false, message: "no database" };
  return { ready: true, message: "ready" };
}

function startTasks(host: ServeHost, parts: HubParts, signal: AbortSignal): Promise<void>[] {
  const { app, keyring, bells, state } = parts;
  const { database, clock, log, replica } = app;
  const connection = database.listenConnection;
  const every = (ms: number, what: string, work: () => Promise<void>) =>
    repeat({ host, ms, what, work }, signal);
  return [
    runSequencer(
      {
        database,
        clock,
        log,
        replica,
        sign(vendorId, body) {
          const { keyId, privateKey } = keyring.keysOf(vendorId).assignmentKey;
          return { keyId, signature: sign(null, body, privateKey) };
        },
        onSequenced: (vendorId) => bells.ring(vendorId),
      },
      signal,
    ),
    runPrune({ database, clock, log }, signal),
    runExpireActions({ database, clock, log }, signal),
    ...(connection === undefined
      ? []
      : [runRelay({ ...app, connection, random: host.random }, signal)]),
    every(KEY_RENEWAL_MS, "the renewal of the context key", () => renewContextKey(database)),
    every(VENDOR_CHECK_MS, "the look for new vendors", () => keyring.refresh()),
    every(CERTIFICATE_CHECK_MS, "the renewal of the certificate", () => state.renewCertificate()),
    every(TICKET_KEYS_CHECK_MS, "the renewal of the ticket keys", async () => {
      if (await keyring.renewTicketKeys()) state.reloadAgentListeners();
    }),
  ];
}

type Repeated = Readonly<{ host: ServeHost; ms: number; what: string; work: () => Promise<void> }>;

/** First after `ms`; a failure is tried again sooner. */
async function repeat({ host, ms, what, work }: Repeated, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    const pause = failures === 0 ? ms : fullJitter(RETRY, failures, host.random);
    await host.clock.sleep(Math.min(pause, ms), signal);
    if (signal.aborted) return;
    try {
      await work();
      failures = 0;
    } catch (error) {
      failures += 1;
      host.log.warn({ error: causeChain(error), failures }, `${what} failed; it is tried again`);
    }
  }
}

function endpointsPath({ dataDir }: HubConfig): string {
  return join(dataDir, "endpoints.json");
}

async function writeEndpoints(
  config: HubConfig,
  { api, link, identity }: Endpoints,
  pid: number,
): Promise<void> {
  const text = `${JSON.stringify({ api, link, identity, pid })}\n`;
  await replaceFile(endpointsPath(config), text, 0o600);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
