/**
 * The agent's whole usage path, on real SQLite, against a reference of the hub's rules, under random faults:
 * lost answers, agent crashes, the agent's disk rolled back, the hub restored from a backup. Whatever
 * happens, nothing is ever billed that was not used, and after healing everything is.
 */
import { create, fromBinary } from "@bufbuild/protobuf";
import {
  BatchAckSchema,
  FencedSchema,
  type Opened,
  OpenedReason,
  OpenedSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { BatchSchema, type SignedBatch } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { FIRST_HEAD, nextHead, seriesDigest } from "@holdfast/shared/usage.ts";
import Database from "better-sqlite3";
import { describe, expect, it } from "vitest";
import type { Identity } from "../link/port.ts";
import { OUTBOX_SCHEMA, Outbox } from "../store/outbox.ts";
import { toRecords } from "./records.ts";
import { UsageReport } from "./report.ts";

const MINUTE = 60_000;
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const identity = { agentId: "agt_1", identitySeed: new Uint8Array(32).fill(7) } as const;

/** What the hub must do, in the fewest words: one stream by compare-and-set, readings kept per series. */
class ReferenceHub {
  incarnation = 1n;
  epoch = 0n;
  acceptedSeq = 0n;
  acceptedHead: Uint8Array = FIRST_HEAD;
  readonly last = new Map<string, Readonly<{ end: bigint; value: bigint }>>();
  nextEpoch = 1n;

  open(open: ReturnType<UsageReport["open"]>): Opened {
    const resumes =
      open.epoch !== 0n &&
      open.epoch === this.epoch &&
      open.incarnation === this.incarnation &&
      open.acceptedSeq <= this.acceptedSeq &&
      open.nextSeq > this.acceptedSeq;
    if (!resumes) {
      this.epoch = this.nextEpoch++;
      this.acceptedSeq = 0n;
      this.acceptedHead = FIRST_HEAD;
    }
    return create(OpenedSchema, {
      reason: resumes ? OpenedReason.RESUMED : OpenedReason.NEW_EPOCH,
      epoch: this.epoch,
      incarnation: this.incarnation,
      acceptedSeq: this.acceptedSeq,
      acceptedHead: this.acceptedHead,
      series: [...this.last].map(([digest, { end }]) => ({
        seriesDigest: Buffer.from(digest, "hex"),
        windowEndMs: end,
      })),
    });
  }

  ingest(signed: SignedBatch) {
    const batch = fromBinary(BatchSchema, signed.batch);
    const fits =
      batch.epoch === this.epoch &&
      batch.incarnation === this.incarnation &&
      batch.firstSeq === this.acceptedSeq + 1n &&
      Buffer.from(batch.previousHead).equals(this.acceptedHead);
    if (!fits) return create(FencedSchema, { reason: "EXPECTED_SEQ" });
    for (const { series: index, windowEndMs, value } of batch.records) {
      const series = batch.series[index];
      if (series === undefined || value.case !== "counter") throw new Error("malformed batch");
      const digest = Buffer.from(seriesDigest(series)).toString("hex");
      const last = this.last.get(digest);
      if (last !== undefined && (windowEndMs <= last.end || value.value.value < last.value))
        continue;
      this.last.set(digest, { end: windowEndMs, value: value.value.value });
    }
    this.acceptedSeq += BigInt(batch.records.length);
    this.acceptedHead = nextHead(batch.previousHead, signed.batch);
    return create(BatchAckSchema, { epoch: this.epoch, acceptedSeq: this.acceptedSeq });
  }

  /** A restore: yesterday's rows, and a new incarnation. */
  restored(backup: ReferenceHub): void {
    this.incarnation += 1n;
    this.epoch = 0n;
    this.last.clear();
    for (const [digest, row] of backup.last) this.last.set(digest, row);
  }

  copy(): ReferenceHub {
    const copy = new ReferenceHub();
    for (const [digest, row] of this.last) copy.last.set(digest, row);
    return copy;
  }

  billed(): bigint {
    return [...this.last.values()].reduce((sum, { value }) => sum + value, 0n);
  }
}

/** xorshift32; the seed is in the test's title. */
function randomOf(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function openAsStoreDoes(from: Buffer | ":memory:"): Database.Database {
  const db = new Database(from);
  db.defaultSafeIntegers(true);
  return db;
}

class World {
  readonly hub = new ReferenceHub();
  readonly sources = [0n, 0n, 0n];
  now = 1_000_000 * MINUTE;
  #db: Database.Database;
  outbox: Outbox;
  report: UsageReport;
  connected = false;

  constructor(image?: Buffer) {
    this.#db = openAsStoreDoes(image ?? ":memory:");
    if (image === undefined) this.#db.exec(OUTBOX_SCHEMA);
    this.outbox = new Outbox(this.#db);
    this.report = this.#newReport();
  }

  #newReport(): UsageReport {
    return new UsageReport({
      outbox: this.outbox,
      identity: () => identity as unknown as Identity,
      batchBell: new Doorbell(systemClock),
      bootId: "boot",
      nonce: () => new Uint8Array(16),
      log: quiet,
    });
  }

  image(): Buffer {
    return this.#db.serialize();
  }

  /** The process ended; what was on disk (or an older image of it) is there again. */
  restart(image: Buffer = this.image()): void {
    this.#db.close();
    this.#db = openAsStoreDoes(image);
    this.outbox = new Outbox(this.#db);
    this.report = this.#newReport();
    this.connected = false;
  }

  tick(random: () => number): void {
    this.now += MINUTE;
    for (const index of this.sources.keys()) {
      this.sources[index] = (this.sources[index] ?? 0n) + BigInt(Math.floor(random() * 10));
    }
    const measured = this.sources.map((value, index) => ({
      series: {
        instanceId: "ins_1",
        resource: "worker",
        source: `dst-${index}`,
        meter: "rows",
        dimensions: {},
        seatId: "sea_a",
      },
      value,
      at: this.now,
    }));
    this.outbox.append(toRecords(measured, (digest) => this.outbox.lastEnd(digest), MINUTE));
    this.outbox.rollUp(this.now);
  }

  connect(): void {
    const answer = this.report.opened(this.hub.open(this.report.open()));
    this.connected = answer === "go";
  }

  /** One batch; `lost` is which direction loses it. */
  send(lost: "request" | "answer" | "nothing"): boolean {
    const batch = this.report.nextBatch();
    if (batch === undefined) return false;
    if (lost === "request") {
      this.connected = false;
      return true;
    }
    const answer = this.hub.ingest(batch);
    if (lost === "answer") this.connected = false;
    else if (answer.$typeName === "holdfast.link.v1.BatchAck") this.report.acked(answer);
    else {
      this.report.fenced(answer);
      this.connected = false;
    }
    return true;
  }

  heal(): void {
    for (let tries = 0; tries < 10; tries++) {
      if (!this.connected) this.connect();
      while (this.connected && this.send("nothing"));
      const { nextSeq, acceptedSeq } = this.outbox.state();
      if (this.connected && acceptedSeq === nextSeq - 1n) return;
    }
    throw new Error("the stream does not settle");
  }

  truth(): bigint {
    return this.sources.reduce((sum, value) => sum + value, 0n);
  }
}

const SEEDS = Array.from({ length: 40 }, (_, index) => index + 1);

describe("usage under faults", () => {
  it.each(SEEDS)("is exact in the end and never more than the truth (seed %i)", (seed) => {
    const random = randomOf(seed);
    const world = new World();
    let image = world.image();
    let backup = world.hub.copy();
    for (let step = 0; step < 300; step++) {
      const dice = random();
      if (dice < 0.5) world.tick(random);
      else if (dice < 0.6) world.connect();
      else if (dice < 0.9 && world.connected) {
        world.send(random() < 0.2 ? "request" : random() < 0.25 ? "answer" : "nothing");
      } else if (dice < 0.93) world.restart();
      else if (dice < 0.94) world.restart(image);
      else if (dice < 0.95) image = world.image();
      else if (dice < 0.96) backup = world.hub.copy();
      else if (dice < 0.965) world.hub.restored(backup);
      expect(world.hub.billed()).toBeLessThanOrEqual(world.truth());
    }
    world.tick(random);
    world.connected = false;
    world.heal();
    expect(world.hub.billed()).toBe(world.truth());
  });

  it("keeps windows and totals when what was accepted is rolled up by the hour", () => {
    const random = randomOf(7);
    const world = new World();
    for (let minute = 0; minute < 600; minute++) world.tick(random);
    world.heal();
    const backup = world.hub.copy();
    for (let minute = 0; minute < 1_440; minute++) world.tick(random);
    world.heal();
    for (let minute = 0; minute < 180; minute++) world.tick(random);
    world.hub.restored(backup);
    world.connected = false;
    world.heal();
    expect(world.hub.billed()).toBe(world.truth());
    const rows = world.outbox.rows(0n, 2n ** 62n, 100_000);
    expect(rows.length).toBeLessThan((24 + 10 + 180 + 2 * 60) * 3);
    expect(new Set(rows.map(({ digest }) => digest)).size).toBe(3);
    for (const digest of new Set(rows.map((row) => row.digest))) {
      const windows = rows.filter((row) => row.digest === digest);
      for (const [index, { windowStartMs }] of windows.entries()) {
        if (index > 0) expect(windowStartMs).toBe(windows[index - 1]?.windowEndMs);
      }
    }
  });
});

describe("UsageReport", () => {
  it("cuts a batch that was sent before as it was then, so that its head is the same", () => {
    const random = randomOf(3);
    const world = new World();
    for (let minute = 0; minute < 10; minute++) world.tick(random);
    world.connect();
    const first = world.report.nextBatch();
    for (let minute = 0; minute < 10; minute++) world.tick(random);
    world.restart();
    world.connect();
    expect(world.report.nextBatch()?.head).toEqual(first?.head);
  });
});
