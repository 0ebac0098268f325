/**
 * The lives of an agent's engine over one store and one driver's real work: each life can be made to die at one of its
 * journal writes or around one effect. What it left behind is all that the next life knows.
 */
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  create,
  type MessageInitShape,
  type JsonObject as MessageJson,
  toBinary,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { AssignmentSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { signEnvelope, signingKey } from "@holdfast/shared/dsse.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import type { ConsentPort } from "../consent/port.ts";
import type { Driver } from "../drivers/driver.ts";
import * as assignments from "../store/assignments.ts";
import { openStore, type Store } from "../store/database.ts";
import { DELETION_BUDGET_DEFAULT } from "./budget.ts";
import type { CrashScenario, Version } from "./crash-points.test-suite.ts";
import { Engine } from "./engine.ts";
import { type Journal, storeJournal } from "./journal.ts";
import type { Artefacts, UsagePort } from "./work.ts";

export const CRASH_INSTANCE = idOf("instance", "00000000-0000-7000-8000-0000000000c1");
export const CRASH_VENDOR = idOf("vendor", "00000000-0000-7000-8000-000000000001");
export const CRASH_CELL = idOf("cell", "00000000-0000-7000-8000-000000000002");
const KEY = signingKey(new Uint8Array(32).fill(7));
const LOOK_AGAIN_MS = 50;

/**
 * Counts what an agent writes and does; each counts twice, before and after. At the given count it dies: nothing that
 * it does from then on has an effect.
 */
export class Tripwire {
  readonly #at: number | undefined;
  readonly #die: () => void;
  #passed = 0;
  /** What was passed last: of a dead one, where it died. */
  place = "";
  isDead = false;

  constructor(at: number | undefined, die: () => void) {
    this.#at = at;
    this.#die = die;
  }

  get passed(): number {
    return this.#passed;
  }

  pass(place: string): void {
    if (this.isDead) throw new Error("dead");
    this.place = place;
    const isHere = this.#passed === this.#at;
    this.#passed += 1;
    if (!isHere) return;
    this.isDead = true;
    this.#die();
    throw new Error(`killed ${place}`);
  }
}

function trippedJournal(inner: Journal, wire: Tripwire): Journal {
  const guarded =
    <Args extends unknown[]>(name: string, write: (...args: Args) => void) =>
    (...args: Args): void => {
      wire.pass(`before ${name}`);
      write(...args);
      wire.pass(`after ${name}`);
    };
  return {
    note: guarded("note", inner.note),
    rendered: guarded("rendered", inner.rendered),
    append: guarded("append", inner.append),
    commit: guarded("commit", inner.commit),
    end: guarded("end", inner.end),
    removed: guarded("removed", inner.removed),
  };
}

/** Every write, whoever makes it; what is within a transaction is a part of it. */
function tripStore(store: Store, wire: Tripwire): void {
  const { db } = store;
  const [run, transaction] = [store.run.bind(store), store.transaction.bind(store)];
  const unsynced = store.unsynced.bind(store);
  const around = <Result>(place: string, write: () => Result): Result => {
    wire.pass(`before ${place}`);
    const result = write();
    wire.pass(`after ${place}`);
    return result;
  };
  store.run = (sql, ...values) =>
    db.inTransaction ? run(sql, ...values) : around(sql.slice(0, 40), () => run(sql, ...values));
  store.transaction = (work) =>
    db.inTransaction ? work() : around("a transaction", () => transaction(work));
  store.unsynced = (work) =>
    db.inTransaction ? work() : around("what is not synced", () => unsynced(work));
}

/** `open`: effects under way, which a new life must not overlap with. */
function trippedDriver(inner: Driver, wire: Tripwire, open: Set<Promise<unknown>>): Driver {
  const around = async <Result>(place: string, effect: () => Promise<Result>): Promise<Result> => {
    wire.pass(`before ${place}`);
    const done = effect();
    open.add(done);
    try {
      return await done;
    } finally {
      open.delete(done);
      wire.pass(`after ${place}`);
    }
  };
  return {
    ...inner,
    prepare: (wanted, context) =>
      around(`prepare ${wanted.key.resourceId}`, () => inner.prepare(wanted, context)),
    run: (order, context) =>
      around(`${order.verb} ${order.resourceId}`, () => inner.run(order, context)),
    drop: (instanceId, context) => around("drop", () => inner.drop(instanceId, context)),
    destroy: (instanceId, context, names) =>
      around("destroy", () => inner.destroy(instanceId, context, names)),
  };
}

const ALL_ALLOWED: ConsentPort = { judge: () => ({ verdict: "allowed", rule: "any" }) };
const ALL_REPORTED: UsagePort = {
  measure: async () => undefined,
  stream: () => ({ epoch: 1n, nextSeq: 1n, acceptedSeq: 0n }),
};

/**
 * What a loss of power leaves of a store: a copy of its files from before the first write that is not synced, for as long
 * as none that is has come after it.
 */
class Disk {
  readonly #path: string;
  #isBehind = false;
  #isOff = false;

  constructor(path: string, store: Store) {
    this.#path = path;
    const { db } = store;
    const [run, transaction] = [store.run.bind(store), store.transaction.bind(store)];
    const unsynced = store.unsynced.bind(store);
    store.unsynced = (work) => {
      if (!db.inTransaction) this.#before();
      return unsynced(work);
    };
    const synced = <Result>(write: () => Result): Result => {
      const isOwn = !db.inTransaction;
      const result = write();
      if (isOwn) this.#synced();
      return result;
    };
    store.run = (sql, ...values) => synced(() => run(sql, ...values));
    store.transaction = (work) => synced(() => transaction(work));
  }

  /** Nothing that is done from now on reaches it. */
  turnOff(): void {
    this.#isOff = true;
  }

  /** Once the store is closed. */
  loseUnsynced(): void {
    if (!this.#isBehind) return;
    this.#copy(".disk", "");
    rmSync(`${this.#path}-shm`, { force: true });
  }

  #before(): void {
    if (this.#isBehind || this.#isOff) return;
    this.#copy("", ".disk");
    this.#isBehind = true;
  }

  #synced(): void {
    if (!this.#isOff) this.#isBehind = false;
  }

  #copy(from: string, to: string): void {
    for (const part of ["", "-wal"]) {
      const [source, target] = [this.#path + part + from, this.#path + part + to];
      rmSync(target, { force: true });
      if (existsSync(source)) copyFileSync(source, target);
    }
  }
}

function countedJournal(store: Store) {
  let removals = 0;
  const written = storeJournal(store);
  const journal: Journal = {
    ...written,
    removed: (attempt) => {
      written.removed(attempt);
      removals += 1;
    },
  };
  return { journal, removals: () => removals };
}

export type Life = ReturnType<typeof beginLife>;

/** Which writes count: those of the journal, or all of the store's. */
export type Guarded = "journal" | "store";

/** `at`: the count of its tripwire at which it dies. */
export function beginLife(
  kind: string,
  its: CrashScenario,
  at?: number,
  guarded: Guarded = "journal",
) {
  const { context } = its;
  const stop = new AbortController();
  const wire = new Tripwire(at, () => {
    disk.turnOff();
    stop.abort();
  });
  const open = new Set<Promise<unknown>>();
  mkdirSync(context.stateDir, { recursive: true });
  const path = join(context.stateDir, "agent.db");
  const { store } = openStore(path, 0);
  const disk = new Disk(path, store);
  if (guarded === "store") tripStore(store, wire);
  const { journal, removals } = countedJournal(store);
  const engine = new Engine({
    store,
    journal: guarded === "journal" ? trippedJournal(journal, wire) : journal,
    clock: context.clock,
    random: context.random,
    log: context.log,
    drivers: new Map([
      ...(its.others?.() ?? []).map((each) => [each.kind, each] as const),
      [kind, trippedDriver(its.driver(), wire, open)],
    ]),
    missingDrivers: new Map(),
    context: { ...context, signal: stop.signal },
    artefacts: artefactsOf(its),
    consent: ALL_ALLOWED,
    secrets: { stamp: () => "", read: async (_, { name }) => its.secrets?.[name] ?? "" },
    measured: () => undefined,
    addressee: { vendorId: CRASH_VENDOR, cellId: CRASH_CELL },
    deletionBudget: DELETION_BUDGET_DEFAULT,
    usage: ALL_REPORTED,
    hubNow: () => context.clock.now(),
    intervalMs: LOOK_AGAIN_MS,
  });
  // A killed process does nothing any more: its loops end as soon as they can.
  stop.signal.addEventListener("abort", () => void engine.stop(), { once: true });
  engine.start();
  return {
    ...{ store, engine, wire, disk },
    /** How often it was written in this life that the instance is gone. */
    removals,
    /** What a release of this version wishes, as if the hub had sent it. */
    wish: (number: bigint, version: Version) => {
      wish(store, kind, its, number, version);
      engine.wake(CRASH_INSTANCE);
    },
    /** That nothing of it is wanted any more; its data is kept. */
    tombstone: (number: bigint) => {
      bury(store, number, context.clock.now());
      engine.wake(CRASH_INSTANCE);
    },
    async end(): Promise<void> {
      stop.abort();
      await engine.stop();
      await Promise.allSettled(open);
      store.close();
    },
  };
}

/** By a digest of where it lies; there is nothing to fetch. */
function artefactsOf({ artefacts = {} }: CrashScenario): Artefacts {
  const paths = new Map(Object.values(artefacts).map((path) => [digestOfPath(path), path]));
  return {
    pathOf: (digest) => paths.get(digest) ?? "",
    has: () => true,
    ensure: async () => undefined,
    prune: async () => 0,
  };
}

function digestOfPath(path: string): string {
  return digestOf(Buffer.from(path));
}

function wish(
  store: Store,
  kind: string,
  { resources, outputs = {}, artefacts = {}, context }: CrashScenario,
  number: bigint,
  version: Version,
): void {
  const blueprint = create(BlueprintSchema, {
    ...{ vendorId: CRASH_VENDOR, product: "crash", version: `${number}.0.0`, number },
    artefacts: Object.entries(artefacts).map(([name, path]) => {
      return { name, digest: digestOfPath(path), size: 1n, mediaType: "application/x-tar" };
    }),
    resources: (resources[version] ?? []).map(({ id, dependsOn = [], spec }) => {
      return { id, kind, dependsOn: [...dependsOn], spec: spec as MessageJson };
    }),
    outputs: { ...outputs },
  });
  const release = signEnvelope("blueprint", toBinary(BlueprintSchema, blueprint), [KEY]);
  const releaseDigest = digestOf(release.payload);
  store.transaction(() => {
    assignments.putRelease(store, releaseDigest, release, context.clock.now());
    assign(store, number, context.clock.now(), {
      ...{ product: "crash", releaseDigest, releaseVersion: `${number}.0.0` },
      ...{ releaseNumber: number, runState: 1 },
    });
  });
}

function bury(store: Store, number: bigint, now: number): void {
  store.transaction(() => assign(store, number, now, { tombstone: { keepData: true } }));
}

type Wish = Omit<MessageInitShape<typeof AssignmentSchema>, "$typeName">;

function assign(store: Store, number: bigint, acceptedAt: number, wish: Wish): void {
  const generation = { incarnation: 1n, number };
  const assignment = create(AssignmentSchema, {
    ...{
      vendorId: CRASH_VENDOR,
      cellId: CRASH_CELL,
      instanceId: CRASH_INSTANCE,
      instanceName: "crash",
    },
    ...{ generation, signTime: timestampFromMs(acceptedAt) },
    ...wish,
  });
  const payload = toBinary(AssignmentSchema, assignment);
  const envelope = signEnvelope("assignment", payload, [KEY]);
  const { releaseDigest } = assignment;
  assignments.replace(store, {
    ...{ instanceId: CRASH_INSTANCE, envelope, digest: digestOf(payload), generation },
    ...{ releaseDigest, acceptedAt },
  });
}
