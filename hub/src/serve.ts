/**
 * The hub as a running program: puts database, keys, use cases, listeners and tasks together, and takes them
 * apart in order and within a deadline. Composition only; no rules.
 */
import { randomUUID, sign } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import { isLoopback, type ListenAddress } from "@holdfast/shared/settings.ts";
import type { DispatchDeps } from "./api/dispatch.ts";
import { plainListener, withSecurityHeaders } from "./api/plain.ts";
import { apiListener } from "./api/routes.ts";
import { type ApiServer, listenApi } from "./api/server.ts";
import { createRequestValidator } from "./api/validation.ts";
import { openBlobs } from "./app/blobs.ts";
import { CellBells } from "./app/cell-bells.ts";
import type { AppDeps, Endpoints } from "./app/deps.ts";
import { type Keyring, openKeyring } from "./app/keyring.ts";
import { identityHub } from "./app/link/identity.ts";
import { linkHub } from "./app/link/link-hub.ts";
import { signIn } from "./app/sign-in.ts";
import { reportUseCases } from "./app/usage.ts";
import { VendorBells } from "./app/vendor-bells.ts";
import { createVendor, hasVendor } from "./app/vendors.ts";
import type { HubConfig } from "./config.ts";
import { type IdentityServer, startIdentityServer } from "./link/identity-server.ts";
import { type LinkServer, startLinkServer } from "./link/link-server.ts";
import { createMetrics, type HubMetrics } from "./metrics.ts";
import { type DatabaseHost, openHubDatabase } from "./open-database.ts";
import { issueServerCertificate, type ServerCertificate } from "./pki/server-certificate.ts";
import { readKeyFile, wrapperOf } from "./secrets.ts";
import { hubContext, taskContext } from "./store/context.ts";
import { type Database, renewContextKey } from "./store/database.ts";
import { enterIncarnation } from "./store/hub-state.ts";
import * as sessions from "./store/sessions.ts";
import { readWithContext, withContext } from "./store/tx.ts";
import * as usageMonths from "./store/usage-months.ts";
import * as vendors from "./store/vendors.ts";
import { runPrune } from "./tasks/prune.ts";
import { runSequencer } from "./tasks/sequencer.ts";

export type ServeHost = DatabaseHost &
  Readonly<{
    pid: number;
    version: string;
    /** To people, on standard output. */
    print(line: string): void;
  }>;

/** Half of the life of a context key; see CONTEXT_KEY_LIFE_MS_MAX. */
const KEY_RENEWAL_MS = 11 * 3_600_000;
const CERTIFICATE_CHECK_MS = 3_600_000;
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
  const wrapper = wrapperOf(readKeyFile(config.keyFile, true));
  const { database, close } = await openHubDatabase(config, host);
  try {
    const incarnation = await enterIncarnation(database);
    await usageMonths.ensure(database, host.clock.now());
    const keyringDeps = { database, wrapper, clock: host.clock };
    if (!(await hasVendor(keyringDeps))) await bootstrap(config, host, keyringDeps);
    const keyring = await openKeyring(keyringDeps);
    const replica = await replicaName(config.dataDir);
    await closeOldSessions(database, replica);
    const state = new HubState(config, host, keyring);
    await state.issueCertificate();
    const bells = new VendorBells();
    const app: AppDeps = {
      database,
      clock: host.clock,
      log: host.log,
      version: host.version,
      incarnation,
      replica,
      pageKey: keyring.hub.pageKey,
      wrapper,
      keysOf: (vendorId) => keyring.keysOf(vendorId),
      serverRoots: [keyring.hub.serverAuthority.certificate],
      endpoints: () => state.endpoints(),
      blobs: await openBlobs(join(config.dataDir, "blobs")),
      cellBells: new CellBells(),
      eventsPlaced: (vendorId, ring) => bells.listen(vendorId, ring),
    };
    await serveWith(config, host, { app, keyring, bells, state }, signal);
  } finally {
    await close();
    host.log.info({}, "stopped");
  }
}

type Parts = Readonly<{ app: AppDeps; keyring: Keyring; bells: VendorBells; state: HubState }>;

async function serveWith(
  config: HubConfig,
  host: ServeHost,
  { app, keyring, bells, state }: Parts,
  signal: AbortSignal,
): Promise<void> {
  const metrics = createMetrics();
  const stopping = new AbortController();
  const listenerDeps = (at: ListenAddress) => ({
    ...at,
    clock: host.clock,
    random: host.random,
    log: host.log,
    tls: () => ({ ...state.certificate(), ticketKeys: keyring.hub.ticketKeys }),
    authorities: () => keyring.authorities(),
  });
  const tasks: Promise<void>[] = [];
  const servers: Partial<Servers> = {};
  try {
    servers.link = await startLinkServer({
      ...listenerDeps(config.linkListen),
      hub: linkHub(app, reportUseCases(app)),
    });
    servers.identity = await startIdentityServer({
      ...listenerDeps(config.identityListen),
      hub: identityHub(app),
    });
    const { link, identity } = servers;
    servers.api = await startApi(config, { app, keyring, metrics, state, link, stopping });
    state.listening(servers as Servers);
    keyring.onNewVendors(() => {
      link.reload();
      identity.reload();
    });
    tasks.push(...startTasks(host, { app, keyring, bells, state }, stopping.signal));
    await writeEndpoints(config, state.endpoints(), host.pid);
    host.log.info({ ...state.endpoints(), incarnation: app.incarnation.toString() }, "serving");
    await aborted(signal);
  } finally {
    host.log.info({ deadlineMs: config.shutdownMsMax }, "stopping");
    await rm(endpointsPath(config), { force: true });
    state.isStopping = true;
    stopping.abort();
    await stopServers(servers, config.shutdownMsMax);
    await Promise.allSettled(tasks);
  }
}

type Servers = { link: LinkServer; identity: IdentityServer; api: ApiServer };

/** Intake first, then the agents, each with its share of the deadline. */
async function stopServers(servers: Partial<Servers>, msMax: number): Promise<void> {
  const share = msMax / 2;
  await Promise.allSettled([servers.api?.close(share), servers.identity?.stop(share)]);
  await servers.link?.stop(share);
}

type ApiParts = Readonly<{
  app: AppDeps;
  keyring: Keyring;
  metrics: HubMetrics;
  state: HubState;
  link: LinkServer;
  stopping: AbortController;
}>;

function startApi(config: HubConfig, parts: ApiParts): Promise<ApiServer> {
  const { app, keyring, metrics, state, link, stopping } = parts;
  const dispatch: DispatchDeps = {
    clock: app.clock,
    log: app.log,
    validator: createRequestValidator(),
    authenticate: (authorization) =>
      signIn({ database: app.database, vendorName: (id) => keyring.vendorName(id) }, authorization),
    ended: (method, code, durationMs) => metrics.callEnded(method, code, durationMs),
  };
  const fallback = plainListener({
    readiness: () => readiness(app, state),
    metrics: async () => {
      metrics.sessionsChanged(link.connected);
      return { contentType: metrics.registry.contentType, text: await metrics.registry.metrics() };
    },
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
  return listenApi(config.apiListen, pair, withSecurityHeaders(listener));
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

function startTasks(host: ServeHost, parts: Parts, signal: AbortSignal): Promise<void>[] {
  const { app, keyring, bells, state } = parts;
  const { database, clock, log, replica } = app;
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
    every(KEY_RENEWAL_MS, "the renewal of the context key", () => renewContextKey(database)),
    every(VENDOR_CHECK_MS, "the look for new vendors", () => keyring.refresh()),
    every(CERTIFICATE_CHECK_MS, "the renewal of the certificate", () => state.renewCertificate()),
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

/** What changes while the hub runs: its certificate, where it listens, whether it is stopping. */
class HubState {
  isStopping = false;
  readonly #config: HubConfig;
  readonly #host: ServeHost;
  readonly #keyring: Keyring;
  #certificate: ServerCertificate | undefined;
  #servers: Servers | undefined;

  constructor(config: HubConfig, host: ServeHost, keyring: Keyring) {
    this.#config = config;
    this.#host = host;
    this.#keyring = keyring;
  }

  async issueCertificate(): Promise<void> {
    const { serverAuthority } = this.#keyring.hub;
    const { publicHost, dataDir } = this.#config;
    const now = this.#host.clock.now();
    this.#certificate = await issueServerCertificate(serverAuthority, [publicHost], now);
    const root = pemOf("CERTIFICATE", serverAuthority.certificate);
    await replaceFile(join(dataDir, "ca.pem"), root, 0o644);
  }

  async renewCertificate(): Promise<void> {
    if (this.certificate().renewAt > this.#host.clock.now()) return;
    await this.issueCertificate();
    const { privateKey, certificate } = this.certificate();
    this.#servers?.api.reload({ key: privateKey, certificate });
    this.#servers?.link.reload();
    this.#servers?.identity.reload();
  }

  certificate(): ServerCertificate {
    if (this.#certificate !== undefined) return this.#certificate;
    throw new Fault("INTERNAL", "CERTIFICATE_MISSING", "no server certificate was issued yet");
  }

  listening(servers: Servers): void {
    this.#servers = servers;
  }

  /** As others reach them: by public_host, or by the loopback address where that is all that listens. */
  endpoints(): Endpoints {
    const { publicHost, apiListen, linkListen, identityListen } = this.#config;
    const at = ({ host }: ListenAddress, port: number | undefined) => {
      const isLocal = publicHost === "localhost" && isLoopback(host);
      const name = isLocal ? host : publicHost;
      return `${name.includes(":") ? `[${name}]` : name}:${port ?? 0}`;
    };
    const servers = this.#servers;
    return {
      api: at(apiListen, servers?.api.address.port),
      link: at(linkListen, servers?.link.port),
      identity: at(identityListen, servers?.identity.port),
    };
  }
}

/** The first vendor and its owner. */
async function bootstrap(
  { vendor, ownerTokenFile }: HubConfig,
  host: ServeHost,
  deps: Parameters<typeof createVendor>[0],
): Promise<void> {
  let shown = "";
  await createVendor(deps, vendor, async (token) => {
    if (ownerTokenFile === undefined) shown = token;
    else {
      await mkdir(dirname(ownerTokenFile), { recursive: true, mode: 0o700 });
      await replaceFile(ownerTokenFile, `${token}\n`, 0o600);
    }
  });
  host.log.info({ vendor }, "made the first vendor and its owner");
  if (shown !== "") host.print(`owner token of ${vendor} (shown once): ${shown}`);
}

/** Sessions that this process held in an earlier life are over. */
async function closeOldSessions(database: Database, replica: string): Promise<void> {
  const all = await readWithContext(database, hubContext("start"), vendors.list);
  for (const { id } of all) {
    const context = taskContext(id, "start");
    await withContext(database, context, (tx) => sessions.closeOfReplica(tx, replica));
  }
}

/** The same after each restart on this data directory. */
async function replicaName(dataDir: string): Promise<string> {
  const path = join(dataDir, "replica");
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    const name = randomUUID();
    await replaceFile(path, `${name}\n`, 0o600);
    return name;
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

/** Whoever reads it sees the old content or the new, never a part. */
async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const fresh = `${path}.new`;
  await writeFile(fresh, text, { mode });
  await chmod(fresh, mode);
  await rename(fresh, path);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
