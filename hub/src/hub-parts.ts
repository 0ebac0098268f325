/**
 * The hub's parts below its listeners: keys, first vendor, certificate, use cases. The same for the program
 * and for tests of it; it opens no port and starts no task.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Fault } from "@holdfast/shared/fault.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import { clockProblem } from "@holdfast/shared/plausible-clock.ts";
import { isLoopback, type ListenAddress } from "@holdfast/shared/settings.ts";
import type { ApiServer } from "./api/server.ts";
import { vendorBlobs } from "./app/blobs.ts";
import { CellBells } from "./app/cell-bells.ts";
import type { AppDeps, Endpoints } from "./app/deps.ts";
import { type Keyring, openKeyring } from "./app/keyring.ts";
import { Outcasts } from "./app/outcasts.ts";
import { OutputViews } from "./app/output-views.ts";
import { Rehearsals } from "./app/rehearsals.ts";
import { VendorBells } from "./app/vendor-bells.ts";
import { createVendor, hasVendor } from "./app/vendors.ts";
import type { HubConfig } from "./config.ts";
import type { IdentityServer } from "./link/identity-server.ts";
import type { LinkServer } from "./link/link-server.ts";
import type { DatabaseHost } from "./open-database.ts";
import { issueServerCertificate, type ServerCertificate } from "./pki/server-certificate.ts";
import { replaceFile } from "./replace-file.ts";
import { readKeyFile, wrapperOf } from "./secrets.ts";
import { hubContext, taskContext } from "./store/context.ts";
import type { Database } from "./store/database.ts";
import * as checkpoints from "./store/event-checkpoints.ts";
import { enterIncarnation } from "./store/hub-state.ts";
import * as sessions from "./store/sessions.ts";
import { readWithContext, withContext } from "./store/tx.ts";
import * as usageMonths from "./store/usage-months.ts";
import * as vendors from "./store/vendors.ts";
import { startTelemetryThread } from "./telemetry/thread.ts";

export type PartsHost = Pick<DatabaseHost, "clock" | "log"> &
  Readonly<{
    version: string;
    /** To people, on standard output. */
    print(line: string): void;
  }>;

export type HubParts = Readonly<{
  app: AppDeps;
  keyring: Keyring;
  bells: VendorBells;
  state: HubState;
}>;

export type Servers = { link: LinkServer; identity: IdentityServer; api: ApiServer };

/** Makes what is missing: key file, first vendor, keys. Throws what keeps the hub from serving. */
export async function openParts(
  config: HubConfig,
  host: PartsHost,
  database: Database,
): Promise<HubParts> {
  await checkClock(database, host.clock.now());
  const wrapper = wrapperOf(readKeyFile(config.keyFile, true));
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
    blobsOf: vendorBlobs(join(config.dataDir, "blobs")),
    cellBells: new CellBells(),
    actionBells: new CellBells(),
    rehearsals: new Rehearsals(host.clock),
    outputViews: new OutputViews(host.clock),
    undeleteDays: config.undeleteDays,
    outcasts: new Outcasts(),
    telemetry: startTelemetryThread({
      folder: join(config.dataDir, "telemetry"),
      bounds: config.telemetry,
      log: host.log,
    }),
    eventsPlaced: (vendorId, ring) => bells.listen(vendorId, ring),
  };
  return { app, keyring, bells, state };
}

/** What changes while the hub runs: its certificate, where it listens, whether it is stopping. */
export class HubState {
  isStopping = false;
  readonly #config: HubConfig;
  readonly #host: PartsHost;
  readonly #keyring: Keyring;
  #certificate: ServerCertificate | undefined;
  #servers: Servers | undefined;

  constructor(config: HubConfig, host: PartsHost, keyring: Keyring) {
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
    this.reloadAgentListeners();
  }

  /** New connections of agents are served with the present ticket keys. */
  reloadAgentListeners(): void {
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

/** By a clock that cannot be right a hub would sign what nobody accepts. Throws `CLOCK_IMPLAUSIBLE`. */
async function checkClock(database: Database, now: number): Promise<void> {
  const all = await readWithContext(database, hubContext("start"), vendors.list);
  let signedMs: number | undefined;
  for (const { id } of all) {
    const newest = await readWithContext(database, taskContext(id, "start"), checkpoints.newest);
    if (newest !== undefined) signedMs = Math.max(signedMs ?? 0, newest.createdAt.getTime());
  }
  const problem = clockProblem(now, { signedMs });
  if (problem === undefined) return;
  throw new Fault("FAILED_PRECONDITION", "CLOCK_IMPLAUSIBLE", problem, {
    next: "timedatectl status",
  });
}

/** The first vendor and its owner. */
async function bootstrap(
  { vendor, ownerTokenFile }: HubConfig,
  host: PartsHost,
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
