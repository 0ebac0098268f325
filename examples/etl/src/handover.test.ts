/** Two workers at once: whatever happens to either, every row is copied and counted exactly once. */
import { once } from "node:events";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compare } from "./compare.ts";
import { SourceFile } from "./source.ts";
import {
  type Copy,
  Fleet,
  SEATS,
  seededRandom,
  TEST_SEED,
  until,
  untilComplete,
} from "./testing/fleet.ts";

const ROUNDS = 12;
const VERSIONS = ["1.0.0", "1.1.0"];

let fleet: Fleet;
let source: SourceFile;

beforeEach(async () => {
  fleet = await Fleet.create();
  source = new SourceFile(fleet.source, {
    accounts: ["acme", "globex", "nobody"],
    seed: TEST_SEED,
  });
});
afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
  source.close();
});

const both = () => ({ source: fleet.source, destination: fleet.destination, seats: SEATS });
const roleOf = async (copy: Copy) => JSON.parse((await copy.get("/healthz")).text).role;
const isReady = async (copy: Copy) => (await copy.get("/healthz")).status === 200;
const becomes = (copy: Copy, role: string) =>
  until(`it is ${role}`, async () => (await roleOf(copy)) === role);
/** When the log says that the copy got the role, in ms. */
const timeOf = (copy: Copy, role: string) =>
  Date.parse(String(copy.log.find((line) => line["role"] === role)?.["time"]));
/** Until when nobody else may write, in ms. */
const leaseExpiry = () => {
  const database = new DatabaseSync(fleet.destination, { readOnly: true });
  const { at } = database.prepare("select expires_at_ms as at from etl_lease").get() ?? {};
  database.close();
  return Number(at);
};
const problemsOf = (copy: Copy) => copy.log.filter((line) => line["level"] !== "info");

describe("hand-over", () => {
  it.each([
    { it: "on SIGTERM alone", signals: ["SIGTERM"] as const },
    { it: "on SIGTERM and kill -9 at any moment", signals: ["SIGTERM", "SIGKILL"] as const },
  ])("copies each row exactly once $it", async ({ signals }) => {
    const random = seededRandom(TEST_SEED);
    const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
    const env = { BATCH_ROWS: "7", LEASE_MS: "300" }; // Small batches: many moments to be hit at.
    const start = () => fleet.start({ version: pick(VERSIONS), env });
    source.fillTo(3_000);
    let serving = await start();
    const copies = [serving];
    for (let round = 0; round < ROUNDS; round++) {
      const next = await start();
      copies.push(next);
      source.fillTo(source.rowCount + Math.floor(random() * 200));
      await until("the new copy is ready", () => isReady(next));
      await sleep(random() * 30); // Chance, not synchronisation: the moment of the blow.
      const signal = pick(signals);
      expect(await serving.end(signal)).toEqual(signal === "SIGTERM" ? [0, null] : [null, signal]);
      serving = next;
    }
    await untilComplete(both());
    const { matched, extra, wrong, missing } = await compare(both());
    expect({ extra, wrong, missing }).toEqual({ extra: 0, wrong: 0, missing: 0 });
    expect(matched).toBeGreaterThan(1_500);
    const [writers] = query("select count(distinct fencing) as n from etl_row");
    expect(writers?.["n"]).toBeGreaterThan(2);
    // The lease alone did it: no copy ran into the destination's unique key.
    expect(
      copies.flatMap(problemsOf).filter(({ message }) => /UNIQUE/.test(String(message))),
    ).toEqual([]);
  });

  it("is handed over when the end is clean, long before the lease would expire", async () => {
    source.fillTo(100);
    const env = { LEASE_MS: "60000" };
    let serving = await fleet.start({ env });
    await becomes(serving, "active");
    for (let round = 0; round < 5; round++) {
      const next = await fleet.start({ env });
      await becomes(next, "standby");
      await serving.end("SIGTERM");
      await becomes(next, "active");
      serving = next;
    }
  });

  it("waits for the lease to expire after kill -9, and counts stand-by as ready meanwhile", async () => {
    source.fillTo(100);
    const env = { LEASE_MS: "3000" }; // Longer than the look at the one that stands by takes.
    const old = await fleet.start({ env });
    await becomes(old, "active");
    const next = await fleet.start({ env });
    await becomes(next, "standby");
    await old.end("SIGKILL");
    const expiresAt = leaseExpiry();
    expect(await isReady(next)).toBe(true);
    expect(await roleOf(next)).toBe("standby");
    await becomes(next, "active");
    expect(timeOf(next, "active")).toBeGreaterThanOrEqual(expiresAt);
  });

  it("refuses the writes of a copy that slept through its lease", async () => {
    source.fillTo(50);
    const env = { LEASE_MS: "300" };
    const old = await fleet.start({ env });
    await untilComplete(both());
    const next = await fleet.start({ env });
    await becomes(next, "standby");
    await pauseOutsideTransaction(old);
    source.fillTo(500);
    await becomes(next, "active");
    old.child.kill("SIGCONT"); // With the lease and the checkpoint of row 50 in its memory.
    await becomes(old, "standby");
    await untilComplete(both());
    expect(query("select distinct fencing from etl_row where source_id > 50")).toEqual([
      { fencing: 2 },
    ]);
    expect(problemsOf(old)).toEqual([]);
  });

  it("lets two copies that start at once create one destination", async () => {
    source.fillTo(300);
    const copies = await Promise.all([fleet.start(), fleet.start(), fleet.start()]);
    await until("all are ready", async () =>
      (await Promise.all(copies.map(isReady))).every(Boolean),
    );
    await untilComplete(both());
    const ids = await Promise.all(
      copies.map(async (copy) => JSON.parse((await copy.get("/")).text).destination),
    );
    expect(new Set(ids).size).toBe(1);
    const exits = copies.map(({ child }) => once(child, "exit"));
    for (const { child } of copies) child.kill("SIGTERM");
    expect(await Promise.all(exits)).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ]);
  });
});

/** A copy that is paused inside a transaction would lock everybody out, which is another matter. */
async function pauseOutsideTransaction(copy: Copy): Promise<void> {
  const probe = new DatabaseSync(fleet.destination);
  await until("it is paused outside of a transaction", () => {
    copy.child.kill("SIGSTOP");
    try {
      probe.exec("begin immediate; rollback");
      return true;
    } catch (error) {
      if (!/locked/.test(String(error))) throw error;
      copy.child.kill("SIGCONT");
      return false;
    }
  });
  probe.close();
}

function query(sql: string): readonly Readonly<Record<string, unknown>>[] {
  const database = new DatabaseSync(fleet.destination, { readOnly: true, timeout: 1_000 });
  try {
    return database
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }));
  } finally {
    database.close();
  }
}
