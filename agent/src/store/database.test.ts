/** The store is durable, sets damage aside, refuses what it cannot understand, and lets one agent in at a time. */
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, openStoreToRead } from "./database.ts";
import * as facts from "./facts.ts";
import { checkStateDirectory, findHolder, LOCK_FILE, takeLock } from "./state-directory.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "holdfast-store-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("openStore", () => {
  const path = () => join(directory, "agent.db");

  it("writes ahead and syncs fully, as read back", () => {
    const { store } = openStore(path(), 1);
    expect(store.get("pragma journal_mode")).toEqual({ journal_mode: "wal" });
    expect(store.get("pragma synchronous")).toEqual({ synchronous: 2n });
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    store.close();
  });

  it("gives what it read before until something is written, and nothing that was taken back", () => {
    const { store } = openStore(path(), 1);
    let reads = 0;
    const read = () => {
      reads += 1;
      return facts.findIncarnation(store);
    };
    const told = () => store.keptShared("incarnation", read);
    facts.raiseIncarnation(store, 7n);
    expect([told(), told(), reads]).toEqual([7n, 7n, 1]);
    facts.raiseIncarnation(store, 8n);
    expect([told(), reads]).toEqual([8n, 2]);
    const takenBack = () =>
      store.transaction(() => {
        facts.raiseIncarnation(store, 9n);
        expect(told()).toBe(9n);
        throw new Error("no");
      });
    expect(takenBack).toThrow("no");
    expect(told()).toBe(8n);
    store.close();
  });

  it("writes what the disk need not have yet as a whole, and is durable again afterwards", () => {
    const { store } = openStore(path(), 1);
    const synchronous = () => Number(store.db.pragma("synchronous", { simple: true }));
    store.unsynced(() => facts.raiseIncarnation(store, 8n));
    expect([facts.findIncarnation(store), synchronous()]).toEqual([8n, 2]);
    const takenBack = () =>
      store.unsynced(() => {
        facts.raiseIncarnation(store, 9n);
        expect(synchronous()).toBe(1);
        throw new Error("no");
      });
    expect(takenBack).toThrow("no");
    expect([facts.findIncarnation(store), synchronous()]).toEqual([8n, 2]);
    store.transaction(() => store.unsynced(() => expect(synchronous()).toBe(2)));
    store.close();
  });

  it("gives what it read of an instance until something of that one is written", () => {
    const { store } = openStore(path(), 1);
    const [one, other] = ["a", "b"].map((digit) => `ins_${digit.repeat(32)}`) as [string, string];
    const reads = { one: 0, other: 0, shared: 0 };
    const ask = () => {
      store.kept(one, "refusal x", () => (reads.one += 1));
      store.kept(other, "refusal x", () => (reads.other += 1));
      store.keptShared("x", () => (reads.shared += 1));
      return { ...reads };
    };
    expect([ask(), ask()]).toEqual([
      { one: 1, other: 1, shared: 1 },
      { one: 1, other: 1, shared: 1 },
    ]);
    store.run("delete from refusal where instance_id = ?", one);
    store.run("delete from journal where instance_id = ?", one);
    expect(ask()).toEqual({ one: 2, other: 1, shared: 1 });
    store.run("delete from refusal where at < ?", 0);
    expect(ask()).toEqual({ one: 3, other: 2, shared: 2 });
    store.close();
  });

  it.each([
    {
      reason: "STORE_FULL",
      refuse: "max_page_count = 1",
      allow: "max_page_count = 1000000",
    },
    { reason: "STORE_READ_ONLY", refuse: "query_only = ON", allow: "query_only = OFF" },
  ])("remembers that the disk refused a write until one succeeds: $reason", (its) => {
    const { store } = openStore(path(), 1);
    const write = () => facts.putDamaged(store, "x".repeat(100_000));
    store.db.pragma(its.refuse);
    expect(write).toThrow();
    expect(() => store.transaction(write)).toThrow();
    expect(store.unwritable).toBe(its.reason);
    store.db.pragma(its.allow);
    write();
    expect(store.unwritable).toBeUndefined();
    store.close();
  });

  it("does not take a refused statement for a refusing disk", () => {
    const { store } = openStore(path(), 1);
    const insert = "insert into fact values ('twice', '')";
    store.run(insert);
    expect(() => store.run(insert)).toThrow("UNIQUE");
    expect(store.unwritable).toBeUndefined();
    store.close();
  });

  it("opens again what it wrote, without running a migration twice", () => {
    const first = openStore(path(), 1).store;
    facts.raiseIncarnation(first, 7n);
    first.close();
    const { store, damaged } = openStore(path(), 2);
    expect(damaged).toBeUndefined();
    expect(facts.findIncarnation(store)).toBe(7n);
    store.close();
  });

  it.each([
    ["no database at all", () => Buffer.from("this is not a database, whatever its name says")],
    [
      "a database with a torn page",
      (whole: Buffer) => {
        whole.fill(0xff, 4_096, 4_096 * 8);
        return whole;
      },
    ],
  ])("sets %s aside, keeps it, and begins anew", (_, damage) => {
    const { store: whole } = openStore(path(), 1);
    whole.run("pragma wal_checkpoint(truncate)");
    whole.close();
    const broken = damage(readFileSync(path()));
    writeFileSync(path(), broken);
    const { store, damaged } = openStore(path(), 42);
    expect(damaged).toBe(`${path()}.damaged-42`);
    expect(readFileSync(damaged ?? "")).toEqual(broken);
    expect(facts.findIncarnation(store)).toBe(0n);
    store.close();
  });

  it("refuses the store of a newer agent and leaves it as it is", () => {
    const { store } = openStore(path(), 1);
    store.run("insert into migration (number) values (999)");
    store.close();
    expect(() => openStore(path(), 2)).toThrow(
      expect.objectContaining({ reason: "STORE_NEWER", code: "FAILED_PRECONDITION" }),
    );
    expect(readdirSync(directory).filter((name) => name.includes("damaged"))).toEqual([]);
  });

  it("does all of a transaction or nothing", () => {
    const { store } = openStore(path(), 1);
    const fail = () =>
      store.transaction(() => {
        facts.raiseIncarnation(store, 3n);
        throw new Error("half way");
      });
    expect(fail).toThrow("half way");
    expect(facts.findIncarnation(store)).toBe(0n);
    store.close();
  });

  it("is read without being created or written", () => {
    expect(openStoreToRead(path())).toBeUndefined();
    expect(existsSync(path())).toBe(false);
    openStore(path(), 1).store.close();
    const reader = openStoreToRead(path());
    expect(() => reader?.run("delete from fact")).toThrow("readonly");
    reader?.close();
  });
});

describe("the state directory", () => {
  const uid = process.getuid?.() ?? 0;
  const host = (pid: number, startTimes: ReadonlyMap<number, string>) => ({
    pid,
    uid,
    startTimeOf: (each: number) => startTimes.get(each),
  });

  it("on tmpfs is used, with a warning that says what it costs", () => {
    const inMemory = mkdtempSync("/dev/shm/holdfast-store-");
    try {
      expect(statfsSync(inMemory).type).toBe(0x0102_1994);
      const uid = process.getuid?.() ?? 0;
      expect(checkStateDirectory(inMemory, uid)).toBe(
        `${inMemory} is on tmpfs: identity and usage are lost when the host restarts`,
      );
    } finally {
      rmSync(inMemory, { recursive: true });
    }
  });

  it("that others can write is refused, with owner and mode", () => {
    chmodSync(directory, 0o777);
    expect(() => checkStateDirectory(directory, uid)).toThrow(`owner ${uid}, mode 0777`);
    chmodSync(directory, 0o700);
    expect(() => checkStateDirectory(directory, uid + 1)).toThrow(
      expect.objectContaining({ reason: "STATE_DIR_UNUSABLE" }),
    );
    checkStateDirectory(directory, uid);
  });

  it("has one agent at a time, and names it", () => {
    const alive = new Map([
      [11, "a"],
      [12, "b"],
    ]);
    const lock = takeLock(directory, host(11, alive));
    expect(() => takeLock(directory, host(12, alive))).toThrow("pid 11");
    expect(findHolder(directory, host(12, alive))?.pid).toBe(11);
    lock.release();
    expect(findHolder(directory, host(12, alive))).toBeUndefined();
    takeLock(directory, host(12, alive)).release();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("is taken over from an agent that is gone, also when its pid came back", () => {
    takeLock(directory, host(11, new Map([[11, "a"]])));
    const reused = new Map([
      [11, "another start"],
      [12, "b"],
    ]);
    takeLock(directory, host(12, reused));
    expect(JSON.parse(readFileSync(join(directory, LOCK_FILE), "utf8"))).toMatchObject({ pid: 12 });
  });

  it("is taken over from a lock file that was cut off", () => {
    writeFileSync(join(directory, LOCK_FILE), '{"pid":');
    takeLock(directory, host(12, new Map([[12, "b"]])));
    expect(readdirSync(directory)).toEqual([LOCK_FILE]);
  });
});
