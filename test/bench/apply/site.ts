/**
 * An agent on this machine without its link: the engine with its store, intake, consent, claim and the real drivers of
 * files and processes, and a vendor and a hub that sign for it. One directory, which `end` removes.
 */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ArtefactCache } from "@holdfast/agent/src/artefacts/cache.ts";
import { Intake } from "@holdfast/agent/src/assignments/intake.ts";
import { openPolicy } from "@holdfast/agent/src/consent/open.ts";
import { claimedDriver } from "@holdfast/agent/src/drivers/claimed.ts";
import type { Driver, DriverContext } from "@holdfast/agent/src/drivers/driver.ts";
import { fileDriver, fileHost } from "@holdfast/agent/src/drivers/file/index.ts";
import { processDriver, processHost } from "@holdfast/agent/src/drivers/process/index.ts";
import { instanceDirectories } from "@holdfast/agent/src/local/directories.ts";
import { DELETION_BUDGET_DEFAULT } from "@holdfast/agent/src/reconcile/budget.ts";
import { Engine } from "@holdfast/agent/src/reconcile/engine.ts";
import { type Journal, storeJournal } from "@holdfast/agent/src/reconcile/journal.ts";
import { localSecrets } from "@holdfast/agent/src/secrets/local.ts";
import { agentSecrets } from "@holdfast/agent/src/secrets/secrets.ts";
import { claim, isOutbid } from "@holdfast/agent/src/store/claims.ts";
import { openStore } from "@holdfast/agent/src/store/database.ts";
import * as pins from "@holdfast/agent/src/store/pins.ts";
import { OfferSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose, KeySetSchema } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import {
  rawPublicKeyOf,
  type SigningKey,
  signEnvelope,
  signingKey,
} from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import type { Log } from "@holdfast/shared/log.ts";

const VENDOR = idOf("vendor", "00000000-0000-7000-8000-000000000001");
const CELL = idOf("cell", "00000000-0000-7000-8000-000000000002");
const AGENT = idOf("agent", "00000000-0000-7000-8000-000000000003");
const FENCING = 1n;
const INSTANCE_MS_MAX = 600_000;

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export type Resource = Readonly<{
  id: string;
  kind: string;
  dependsOn?: readonly string[];
  spec: JsonObject;
}>;

export type Release = Readonly<{
  number: number;
  resources: readonly Resource[];
  /** A tar archive by its name. */
  artefacts?: ReadonlyMap<string, Uint8Array>;
}>;

export type Site = Awaited<ReturnType<typeof openSite>>;

type Options = Readonly<{
  /** How often loops look by themselves. */
  intervalMs: number;
  /** Wraps each driver, below its claim. */
  driver?(inner: Driver): Driver;
  journal?(inner: Journal): Journal;
  /** A pass of this instance is over. */
  passed?(instanceId: string): void;
}>;

export function instanceId(n: number): string {
  return idOf("instance", `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`);
}

export function openSite({ intervalMs, driver, journal, passed }: Options) {
  const stateDir = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-bench-site-")));
  const secretsDir = join(stateDir, "secrets");
  mkdirSync(secretsDir, { mode: 0o700 });
  const { store } = openStore(join(stateDir, "agent.db"), Date.now());
  const hub = new Hub(store);
  claim(stateDir, { cellId: CELL, agentId: AGENT, fencing: FENCING });
  const stop = new AbortController();
  const parts = {
    store,
    clock: systemClock,
    random: Math.random,
    log: quiet,
    addressee: ADDRESSEE,
  };
  const context: DriverContext = {
    ...{ log: quiet, clock: systemClock, random: Math.random, signal: stop.signal, stateDir },
    directories: (id) => instanceDirectories(stateDir, id),
  };
  /** Who waits for the next pass of an instance. */
  const waiting = new Map<string, () => void>();
  const drivers = driversOf(stateDir, (id) => engine.wake(id), driver);
  const engine: Engine = new Engine({
    ...{ ...parts, context, drivers, intervalMs, usage: ALL_REPORTED, hubNow: Date.now },
    journal: (journal ?? ((inner) => inner))(storeJournal(store)),
    missingDrivers: new Map(),
    deletionBudget: DELETION_BUDGET_DEFAULT,
    artefacts: new ArtefactCache(stateDir, hub.fetch),
    consent: openPolicy([]),
    secrets: agentSecrets(store, AGENT, localSecrets(secretsDir, process.getuid?.() ?? 0)),
    measured: (id) => {
      passed?.(id);
      waiting.get(id)?.();
      return undefined;
    },
  });
  const intake = new Intake({
    ...{ ...parts, fetch: hub.fetch, agentId: AGENT, signal: stop.signal },
    makeRoom: () => engine.forgetRemoved("one"),
    changed: (id) => engine.wake(id),
  });
  engine.start();
  return {
    ...{ stateDir, store, engine, context, drivers },
    publish: (release: Release) => hub.publish(release),
    /** Hands an assignment in as the link does; resolves once it is stored. */
    offer: (instance: string, number: number, release: Published) =>
      intake.offered(hub.offerOf(instance, number, release)),
    /** Until this generation serves. Throws after INSTANCE_MS_MAX, or once it did not come to it. */
    async committed(instance: string, number: number): Promise<void> {
      const until = performance.now() + INSTANCE_MS_MAX;
      while (!isCommitted(engine, instance, number, performance.now() > until)) {
        await new Promise<void>((resolve) => {
          waiting.set(instance, resolve);
        });
        waiting.delete(instance);
      }
    },
    async end(): Promise<void> {
      await engine.stop();
      stop.abort();
      endPrograms(stateDir);
      store.close();
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

const ADDRESSEE = { vendorId: VENDOR, cellId: CELL };
const ALL_REPORTED = {
  measure: async () => undefined,
  stream: () => ({ epoch: 1n, nextSeq: 1n, acceptedSeq: 0n }),
};

function isCommitted(engine: Engine, instance: string, number: number, isLate: boolean): boolean {
  const found = engine.statuses().find((each) => each.status.instanceId === instance);
  const { committedGeneration, attempt } = found?.status ?? {};
  if (committedGeneration?.number === BigInt(number)) return true;
  const isOver = attempt?.generation?.number === BigInt(number) && attempt.endTime !== undefined;
  if (!isOver && !isLate) return false;
  throw new Error(`${instance}: ${attempt?.reason}: ${attempt?.message}`);
}

/** A vendor that publishes and a hub that assigns; both sign as the store has pinned it. */
class Hub {
  readonly #hub = signingKey(new Uint8Array(32).fill(1));
  readonly #vendor = signingKey(new Uint8Array(32).fill(2));
  readonly #releases = new Map<string, Envelope>();
  readonly #artefacts = new Map<string, Uint8Array>();
  readonly fetch = {
    fetchRelease: async (digest: string) => this.#releases.get(digest) ?? lost(digest),
    fetchArtefact: (digest: string, offset: bigint) => this.#artefact(digest, Number(offset)),
    fetchSecret: async (_: string, name: string) => lost(name),
  };

  constructor(store: ReturnType<typeof openStore>["store"]) {
    pin(store, KeyPurpose.ASSIGNMENT, this.#hub);
    pin(store, KeyPurpose.RELEASE, this.#vendor);
  }

  publish(release: Release): Published {
    const envelope = envelopeOf(release, this.#vendor);
    for (const bytes of release.artefacts?.values() ?? []) {
      this.#artefacts.set(digestOf(bytes), bytes);
    }
    const digest = digestOf(envelope.payload);
    this.#releases.set(digest, envelope);
    return { digest, number: release.number };
  }

  offerOf(instance: string, number: number, release: Published) {
    return offerOf(instance, number, release, this.#hub);
  }

  async *#artefact(digest: string, offset: number) {
    yield (this.#artefacts.get(digest) ?? lost(digest)).subarray(offset);
  }
}

type Published = Readonly<{ digest: string; number: number }>;

function driversOf(
  stateDir: string,
  wake: (instanceId: string) => void,
  wrap: (inner: Driver) => Driver = (inner) => inner,
): ReadonlyMap<string, Driver> {
  const uid = process.getuid?.() ?? 0;
  const settings = { processCgroups: "off", processUsers: [], fileRoots: [] } as const;
  const ground = {
    ...{ nodePath: process.execPath, procDir: "/proc", accountsFile: "/etc/passwd" },
    kill: (pid: number, signal: string) => void process.kill(pid, signal),
    umask: (mask: number) => process.umask(mask),
  };
  const fence = { isFenced: () => isOutbid(stateDir, FENCING), fenced: () => undefined };
  const all = [
    fileDriver(fileHost(ground, uid, settings)),
    processDriver(processHost(ground, uid, settings, wake)),
  ];
  return new Map(all.map((each) => [each.kind, claimedDriver(wrap(each), fence)]));
}

function pin(
  store: ReturnType<typeof openStore>["store"],
  purpose: KeyPurpose,
  { keyId, privateKey }: SigningKey,
): void {
  const publicKey = rawPublicKeyOf(privateKey);
  const keys = [{ keyId, purpose, publicKey }];
  const set = create(KeySetSchema, { vendorId: VENDOR, version: 1n, purpose, keys });
  pins.replaceKeySet(store, set, toBinary(KeySetSchema, set));
}

function envelopeOf({ number, resources, artefacts = new Map() }: Release, vendor: SigningKey) {
  const blueprint = create(BlueprintSchema, {
    vendorId: VENDOR,
    product: "bench",
    version: `${number}.0.0`,
    number: BigInt(number),
    artefacts: [...artefacts].map(([name, bytes]) => {
      return { name, digest: digestOf(bytes), size: BigInt(bytes.length), mediaType: TAR };
    }),
    resources: resources.map(({ id, kind, dependsOn = [], spec }) => {
      return { id, kind, dependsOn: [...dependsOn], spec };
    }),
  });
  return signEnvelope("blueprint", toBinary(BlueprintSchema, blueprint), [vendor]);
}

const TAR = "application/x-tar";

function offerOf(instance: string, number: number, release: Published, hub: SigningKey) {
  const assignment = create(AssignmentSchema, {
    vendorId: VENDOR,
    cellId: CELL,
    instanceId: instance,
    instanceName: `bench-${Number.parseInt(instance.slice(-6), 16)}`,
    generation: { incarnation: 1n, number: BigInt(number) },
    product: "bench",
    releaseDigest: release.digest,
    releaseVersion: `${release.number}.0.0`,
    releaseNumber: BigInt(release.number),
    runState: 1,
    signTime: timestampFromMs(Date.now()),
  });
  const envelope = signEnvelope("assignment", toBinary(AssignmentSchema, assignment), [hub]);
  return create(OfferSchema, { instanceId: instance, assignment: envelope });
}

/** By what they run: to stop a thousand of them one by one as an agent does takes minutes. */
function endPrograms(stateDir: string): void {
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      if (readlinkSync(`/proc/${name}/exe`).startsWith(`${stateDir}/`)) {
        process.kill(Number(name), "SIGKILL");
      }
    } catch {
      // Ended meanwhile, or the kernel's own.
    }
  }
}

function lost(what: string): never {
  throw new Error(`the bench has no ${what}`);
}
