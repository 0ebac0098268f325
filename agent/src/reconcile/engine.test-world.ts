/**
 * An agent's engine on a real store and a real directory, with a vendor and a hub that sign for it. The engine
 * can be ended and begun again on what it left behind.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { OfferSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Action,
  ActionKind,
  type ActionResult,
  ActionSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type Assignment,
  AssignmentSchema,
  EntitlementSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { GenerationSchema } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import {
  rawPublicKeyOf,
  type SigningKey,
  signEnvelope,
  signingKey,
} from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { SharedLooks } from "@holdfast/shared/shared-looks.ts";
import { ArtefactCache } from "../artefacts/cache.ts";
import { Intake } from "../assignments/intake.ts";
import { openPolicy } from "../consent/open.ts";
import type { ConsentPort } from "../consent/port.ts";
import { AskedCopies } from "../drivers/asked.ts";
import type { Driver, DriverContext } from "../drivers/driver.ts";
import { Children } from "../drivers/host-process/children.ts";
import { processDriver } from "../drivers/process/index.ts";
import { ReadSpecs } from "../drivers/process/spec.ts";
import type { FetchPort } from "../link/port.ts";
import { instanceDirectories } from "../local/directories.ts";
import { localSecrets } from "../secrets/local.ts";
import { agentSecrets } from "../secrets/secrets.ts";
import { openStore, type Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import { DELETION_BUDGET_DEFAULT } from "./budget.ts";
import { Engine } from "./engine.ts";
import { copies, type FileDriver, type FoundCopy, fileDriver } from "./file-driver.test-world.ts";
import { type Journal, storeJournal } from "./journal.ts";
import {
  blueprintOf,
  type InstanceInput,
  PROGRAM,
  type ResourceInput,
  tarOf,
  VENDOR,
} from "./release.test-world.ts";
import type { UsagePort } from "./work.ts";

export const CELL = idOf("cell", "00000000-0000-7000-8000-000000000002");
export const AGENT = idOf("agent", "00000000-0000-7000-8000-000000000003");
export const DEADLINE_MS = 60_000;

export function instanceId(n = 1): string {
  return idOf("instance", `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`);
}

export const quietLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => quietLog,
};

export type OfferInput = Readonly<{
  instance?: string;
  incarnation?: bigint;
  number: bigint;
  release?: number;
  resources?: readonly ResourceInput[];
  /** Others that the release names; `assignment.instances` says which stand for them. */
  instances?: readonly InstanceInput[];
  tombstone?: boolean;
  stopped?: boolean;
  /** Fields that differ from what the rest says. */
  assignment?: Partial<Omit<Assignment, "$typeName">>;
  signWith?: readonly SigningKey[];
}>;

export type AgentWorld = Awaited<ReturnType<typeof agentWorld>>;

/** Everything below one directory, removed by `dispose`: a new temporary one, or what another world left. */
export async function agentWorld(left?: string) {
  const stateDir = left ?? mkdtempSync(join(tmpdir(), "holdfast-engine-"));
  const hubKey = signingKey(new Uint8Array(32).fill(1));
  const releaseKey = signingKey(new Uint8Array(32).fill(2));
  const releases = new Map<string, Envelope>();
  const artefact = await tarOf({ "main.mjs": PROGRAM });
  const artefacts = new Map<string, Uint8Array>([[digestOf(artefact), artefact]]);
  const link: LinkState = { isUp: true, hasArtefacts: true, failingSecrets: 0 };
  /** Sealed secrets that the hub has, by name and version. */
  const sealed = new Map<string, Uint8Array>();
  const fetch = fetchFrom(link, releases, artefacts, sealed);
  const secretsDir = join(stateDir, "secrets");
  mkdirSync(secretsDir, { mode: 0o700, recursive: true });
  pinKeys(stateDir, hubKey, releaseKey);

  /** The signed release with these resources; the hub has it from now on. */
  const publish = (
    number: number,
    resources: readonly ResourceInput[],
    instances: readonly InstanceInput[] = [],
  ): Envelope => {
    const blueprint = blueprintOf(number, resources, artefact, instances);
    const envelope = signEnvelope("blueprint", toBinary(BlueprintSchema, blueprint), [releaseKey]);
    releases.set(digestOf(envelope.payload), envelope);
    return envelope;
  };

  const offerOf = (input: OfferInput) => {
    const { instance = instanceId(), incarnation = 1n, number, release = Number(number) } = input;
    const published = publish(release, input.resources ?? [{}], input.instances);
    const assignment = create(AssignmentSchema, {
      vendorId: VENDOR,
      cellId: CELL,
      instanceId: instance,
      instanceName: `etl-${Number.parseInt(instance.slice(-6), 16)}`,
      generation: create(GenerationSchema, { incarnation, number }),
      product: "etl",
      releaseDigest: digestOf(published.payload),
      releaseVersion: `${release}.0.0`,
      releaseNumber: BigInt(release),
      runState: input.stopped ? 2 : 1,
      ...(input.tombstone && { tombstone: { keepData: true } }),
      signTime: timestampFromMs(Date.now()),
      ...input.assignment,
    });
    const payload = toBinary(AssignmentSchema, assignment);
    const envelope = signEnvelope("assignment", payload, input.signWith ?? [hubKey]);
    return create(OfferSchema, { instanceId: instance, assignment: envelope });
  };

  const world = {
    ...{ stateDir, secretsDir, fetch, link, releases, artefacts, sealed },
    ...{ hubKey, releaseKey, publish, offerOf },
    copies: (): readonly FoundCopy[] => copies({ stateDir }),
    /** An engine on what is there; `journal` wraps the store's. */
    begin(options: BeginOptions = {}) {
      return beginAgent(world, options);
    },
    entitlementOf: (number: bigint, seats: readonly string[], instance = instanceId()): Envelope =>
      signEnvelope("entitlement", entitlementBytes(number, seats, instance), [hubKey]),
    dispose: () => rmSync(stateDir, { recursive: true, force: true }),
  };
  return world;
}

type LinkState = {
  isUp: boolean;
  hasArtefacts: boolean;
  /** So many times a secret cannot be had now. */
  failingSecrets: number;
};

/** A link to a hub that has this content; it can be down as a whole, or for artefacts alone. */
function fetchFrom(
  link: LinkState,
  releases: ReadonlyMap<string, Envelope>,
  artefacts: ReadonlyMap<string, Uint8Array>,
  sealed: ReadonlyMap<string, Uint8Array>,
): FetchPort {
  return {
    async fetchRelease(digest) {
      if (!link.isUp) throw new Fault("UNAVAILABLE", "LINK_DOWN", "no link");
      const release = releases.get(digest);
      if (release === undefined) throw new Fault("NOT_FOUND", "RELEASE_UNKNOWN", digest);
      return release;
    },
    async *fetchArtefact(digest, offset) {
      if (!link.isUp || !link.hasArtefacts) throw new Fault("UNAVAILABLE", "LINK_DOWN", "no link");
      const bytes = artefacts.get(digest);
      if (bytes === undefined) throw new Fault("NOT_FOUND", "ARTEFACT_UNKNOWN", digest);
      yield bytes.subarray(Number(offset));
    },
    async fetchSecret(_, name, version) {
      if (link.failingSecrets > 0) {
        link.failingSecrets -= 1;
        throw new Fault("UNAVAILABLE", "LINK_DOWN", "no link");
      }
      const bytes = sealed.get(`${name}/${version}`);
      if (bytes === undefined) throw new Fault("NOT_FOUND", "SECRET_UNKNOWN", name);
      return bytes;
    },
  };
}

function pinKeys(stateDir: string, hubKey: SigningKey, releaseKey: SigningKey): void {
  const store = openStore(join(stateDir, "agent.db"), 0).store;
  for (const [purpose, key] of [
    [KeyPurpose.ASSIGNMENT, hubKey],
    [KeyPurpose.RELEASE, releaseKey],
  ] as const) {
    const set = keySet(purpose, 1n, [key]);
    pins.replaceKeySet(store, set, toBinary(KeySetSchema, set));
  }
  store.close();
}

function entitlementBytes(number: bigint, seats: readonly string[], instance: string): Uint8Array {
  const entitlement = create(EntitlementSchema, {
    vendorId: VENDOR,
    cellId: CELL,
    instanceId: instance,
    revision: { incarnation: 1n, number },
    seats: seats.map((name, n) => ({ seatId: idOf("seat", SEATS[n] ?? ""), name })),
  });
  return toBinary(EntitlementSchema, entitlement);
}

const SEATS = [
  "00000000-0000-7000-8000-0000000000a1",
  "00000000-0000-7000-8000-0000000000a2",
] as const;

type Base = Readonly<{ stateDir: string; secretsDir: string; fetch: FetchPort }>;

export type BeginOptions = Readonly<{
  driver?: FileDriver;
  /** Real processes in place of the driver's files. */
  isReal?: boolean;
  /** Wraps the store's. */
  journal?: (inner: Journal) => Journal;
  consent?: ConsentPort;
  clock?: Clock;
  /** Why the driver cannot work here. */
  missing?: string;
  hubNow?: () => number;
  usage?: UsagePort;
  deletionBudget?: number;
}>;

/** An agent that has measured nothing yet. */
const ALL_REPORTED: UsagePort = {
  measure: async () => undefined,
  stream: () => ({ epoch: 1n, nextSeq: 1n, acceptedSeq: 0n }),
};

function driversOf({ missing, isReal }: BeginOptions, driver: FileDriver) {
  const found = [[driver.kind, isReal ? realDriver() : driver]] as const;
  return missing === undefined
    ? { drivers: new Map<string, Driver>(found), missingDrivers: new Map<string, string>() }
    : { drivers: new Map<string, Driver>(), missingDrivers: new Map([[driver.kind, missing]]) };
}

type OrderInput = Readonly<Partial<Omit<Action, "$typeName" | "$unknown">>>;

/** Takes an order as the link does; gives the results that it was told, and the last one once it is final. */
function order(engine: Engine, action: OrderInput): Ordered {
  const { notAfter = timestampFromMs(Date.now() + 60_000) } = action;
  const given = { instanceId: instanceId(), kind: ActionKind.RESTART, ...action, notAfter };
  const told: ActionResult[] = [];
  const ended = new Promise<ActionResult>((resolve) => {
    const tell = (result: ActionResult): void => {
      told.push(result);
      if (result.state !== ActionState.HELD) resolve(result);
    };
    const isNews = engine.orders.take(create(ActionSchema, given), tell);
    if (isNews) engine.wake(given.instanceId);
  });
  return { told, ended };
}

export function realDriver(): Driver {
  return processDriver({
    kind: "process",
    nodePath: process.execPath,
    kill: (pid, signal) => void process.kill(pid, signal),
    umask: (mask) => process.umask(mask),
    onChange: () => undefined,
    children: new Children(),
    looks: new SharedLooks(),
    asked: new AskedCopies(),
    specs: new ReadSpecs(),
    procDir: "/proc",
    withoutGroups: "tests use no groups",
    uid: process.getuid?.() ?? 0,
    users: [],
    accountsFile: "/etc/passwd",
  });
}

type Ordered = Readonly<{ told: readonly ActionResult[]; ended: Promise<ActionResult> }>;

export type RunningAgent = ReturnType<typeof beginAgent>;

function beginAgent(base: Base, options: BeginOptions) {
  const { stateDir } = base;
  const { driver = fileDriver(), journal: wrap = (each) => each, clock = systemClock } = options;
  const stop = new AbortController();
  const store: Store = openStore(join(stateDir, "agent.db"), 0).store;
  const context: DriverContext = {
    log: quietLog,
    clock,
    random: Math.random,
    signal: stop.signal,
    stateDir,
    directories: (id) => instanceDirectories(stateDir, id),
  };
  const engine = new Engine({
    store,
    journal: wrap(storeJournal(store)),
    clock,
    random: Math.random,
    log: quietLog,
    ...driversOf(options, driver),
    context,
    artefacts: new ArtefactCache(stateDir, base.fetch),
    consent: options.consent ?? openPolicy([]),
    secrets: agentSecrets(store, AGENT, localSecrets(base.secretsDir, process.getuid?.() ?? 0)),
    measured: () => undefined,
    usage: options.usage ?? ALL_REPORTED,
    addressee: { vendorId: VENDOR, cellId: CELL },
    deletionBudget: options.deletionBudget ?? DELETION_BUDGET_DEFAULT,
    hubNow: options.hubNow ?? Date.now,
    intervalMs: 100,
  });
  const intake = new Intake({
    store,
    fetch: base.fetch,
    clock,
    random: Math.random,
    log: quietLog,
    addressee: { vendorId: VENDOR, cellId: CELL },
    agentId: AGENT,
    signal: stop.signal,
    makeRoom: () => engine.forgetRemoved("one"),
    changed: (id) => engine.wake(id),
  });
  engine.start();
  const statusOf = (instance = instanceId()): InstanceStatus | undefined =>
    engine.statuses().find(({ status }) => status.instanceId === instance)?.status;
  return {
    ...{ store, context, engine, intake, driver },
    statusOf,
    order: (action: OrderInput): Ordered => order(engine, action),
    /** Waits for a status; fails with the last one seen. */
    async until(
      holds: (status: InstanceStatus) => boolean,
      instance = instanceId(),
    ): Promise<InstanceStatus> {
      const endsAt = Date.now() + DEADLINE_MS;
      for (;;) {
        const status = statusOf(instance);
        if (status !== undefined && holds(status)) return status;
        if (Date.now() > endsAt) throw new Error(`not reached; last: ${shownStatus(status)}`);
        await systemClock.sleep(5);
      }
    },
    async end(): Promise<void> {
      stop.abort();
      await engine.stop();
      store.close();
    },
  };
}

function shownStatus(status: InstanceStatus | undefined): string {
  return JSON.stringify(status, (_, value) => (typeof value === "bigint" ? String(value) : value));
}

export function keySet(purpose: KeyPurpose, version: bigint, keys: readonly SigningKey[]) {
  return create(KeySetSchema, {
    vendorId: VENDOR,
    version,
    purpose,
    keys: keys.map(({ keyId, privateKey }) => ({
      keyId,
      purpose,
      publicKey: rawPublicKeyOf(privateKey),
    })),
  });
}
