/** Usage at the database: streams, verdicts, sums; on a real PostgreSQL. */
import { createHash, randomBytes } from "node:crypto";
import { Fault } from "@holdfast/shared/fault.ts";
import { beforeEach, describe, expect, it } from "vitest";
import { agentContext, tenantContext } from "./context.ts";
import { withClient } from "./database.ts";
import { useTestStore } from "./testing.ts";
import { makeWorld, newId, type World } from "./testing-world.ts";
import { readWithContext, withContext } from "./tx.ts";
import * as usage from "./usage.ts";
import * as streams from "./usage-streams.ts";

const store = useTestStore();
const MINUTE = 60_000n;

let world: World;
let epoch: bigint;
let head: Uint8Array;
let nextSeq: bigint;
let base: bigint;

const opening = () => ({
  agentId: world.agentId,
  epoch: 0n,
  nextSeq: 1n,
  acceptedSeq: 0n,
  acceptedHead: streams.EPOCH_START_HEAD,
  incarnation: 1n,
});
const openStream = (open: streams.StreamOpen) =>
  withContext(store().database, agent(), async (tx) => {
    const [opened] = await streams.openAll(tx, [open], 1n);
    if (opened === undefined || opened instanceof Fault) throw opened ?? new Error("no answer");
    return opened;
  });
const agent = () => agentContext(world.vendorId, world.cellId, world.agentId);

beforeEach(async () => {
  world = await makeWorld(store().database);
  const opened = await openStream(opening());
  ({ epoch } = opened);
  head = opened.acceptedHead;
  nextSeq = 1n;
  base = (BigInt(Date.now()) / MINUTE) * MINUTE - 60n * MINUTE;
});

type Given = Readonly<{
  seat?: string;
  meter?: string;
  source?: string;
  at: number;
  value?: bigint;
  kind?: usage.RecordKind;
  detail?: string;
}>;

function batchOf(...given: readonly Given[]): usage.UsageBatch {
  const series = given.map(({ seat = world.seats.acme, meter = "rows", source = "s1" }) => ({
    digest: createHash("sha256").update([world.instanceId, seat, meter, source].join()).digest(),
    instanceId: world.instanceId,
    seatId: seat,
    meter,
    resource: "worker",
    source,
    dimensions: {},
  }));
  const unique = series.filter(
    (each, at) => series.findIndex((other) => other.digest.equals(each.digest)) === at,
  );
  return {
    agentId: world.agentId,
    epoch,
    incarnation: 1n,
    firstSeq: nextSeq,
    previousHead: head,
    head: randomBytes(32),
    series: unique,
    records: given.map(({ at, value = 0n, kind = "counter", detail = "" }, index) => ({
      seq: nextSeq + BigInt(index),
      series: unique.findIndex((each) => series[index]?.digest.equals(each.digest)),
      windowStartMs: base + BigInt(at - 1) * MINUTE,
      windowEndMs: base + BigInt(at) * MINUTE,
      kind,
      value,
      detail,
    })),
  };
}

async function send(...given: readonly Given[]) {
  const batch = batchOf(...given);
  const answer = await usage.ingest(store().database, agent(), batch);
  if (answer.kind === "accepted") {
    nextSeq += BigInt(batch.records.length);
    head = batch.head;
  }
  return answer;
}

async function sums(range: { startMs?: bigint; endMs?: bigint } = {}) {
  const lines = await readWithContext(store().database, world.context, (tx) =>
    usage.query(tx, { startMs: 0n, endMs: base + 10_000n * MINUTE, limit: 100, ...range }),
  );
  return lines.map(({ tenantId, meter, quantity }) => ({ tenantId, meter, quantity }));
}
const verdictsOf = async (...given: readonly Given[]) => {
  const answer = await send(...given);
  return answer.kind === "accepted"
    ? answer.verdicts.map(({ verdict, reason }) => `${verdict} ${reason}`.trim())
    : answer.reason;
};

describe("sums", () => {
  it("counts a series from 0 and adds differences of cumulative readings", async () => {
    await send({ at: 1, value: 10n }, { at: 2, value: 25n });
    await send({ at: 3, value: 30n });
    expect(await sums()).toEqual([{ tenantId: world.tenants.acme, meter: "rows", quantity: 30n }]);
  });

  it("adds sources of one meter, and gives each seat's usage to its tenant", async () => {
    await send({ at: 1, value: 10n }, { at: 1, value: 5n, source: "s2" });
    await send({ at: 1, value: 7n, seat: world.seats.globex });
    const lines = await sums();
    expect(lines.toSorted((a, b) => Number(a.quantity - b.quantity))).toEqual([
      { tenantId: world.tenants.globex, meter: "rows", quantity: 7n },
      { tenantId: world.tenants.acme, meter: "rows", quantity: 15n },
    ]);
  });

  it("counts a window in the range that its end lies in", async () => {
    await send({ at: 1, value: 10n }, { at: 2, value: 25n }, { at: 3, value: 26n });
    const range = { startMs: base + MINUTE, endMs: base + 2n * MINUTE };
    expect((await sums(range))[0]?.quantity).toBe(15n);
  });

  it("keeps integers beyond 2^53 exact", async () => {
    const large = 2n ** 62n;
    await send({ at: 1, value: large }, { at: 2, value: large + 1n });
    await send({ at: 1, value: large, source: "s2" });
    expect((await sums())[0]?.quantity).toBe(2n ** 63n + 1n);
  });

  it("shows a tenant its own usage only", async () => {
    await send({ at: 1, value: 10n }, { at: 1, value: 7n, seat: world.seats.globex });
    const own = tenantContext(world.vendorId, world.tenants.acme, {
      principal: "m",
      permission: "p",
    });
    const lines = await readWithContext(store().database, own, (tx) =>
      usage.query(tx, { startMs: 0n, endMs: base * 2n, limit: 10 }),
    );
    expect(lines.map(({ tenantId }) => tenantId)).toEqual([world.tenants.acme]);
  });
});

describe("streams", () => {
  it("acknowledges a batch that is there already and adds nothing", async () => {
    const batch = batchOf({ at: 1, value: 10n });
    const first = await usage.ingest(store().database, agent(), batch);
    const second = await usage.ingest(store().database, agent(), batch);
    expect(first).toMatchObject({ kind: "accepted", acceptedSeq: 1n, durableSeq: 1n });
    expect(second).toMatchObject({ kind: "accepted", acceptedSeq: 1n });
    expect((await sums())[0]?.quantity).toBe(10n);
  });

  it("takes a batch although key and clock ran out while the machine slept", async () => {
    const { database } = store();
    await withClient(store().connection("postgres"), "test", (client) =>
      client.query("update wall.context_key set expires_at = now() - interval '1 hour'"),
    );
    expect(await send({ at: 1, value: 1n })).toMatchObject({ kind: "accepted" });
    database.serverTime = { ...database.serverTime, ms: 0 };
    expect(await send({ at: 2, value: 2n })).toMatchObject({ kind: "accepted" });
  });

  it("lets one of many equal batches in", async () => {
    const batch = batchOf({ at: 1, value: 10n });
    const all = await Promise.all(
      Array.from({ length: 20 }, () => usage.ingest(store().database, agent(), batch)),
    );
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(["accepted"]));
    expect((await sums())[0]?.quantity).toBe(10n);
  });

  it.each([
    { what: "a gap", change: { firstSeq: 5n }, reason: "EXPECTED_SEQ", expectedSeq: 2n },
    {
      what: "the last number there is",
      change: { firstSeq: 2n ** 63n - 1n },
      reason: "EXPECTED_SEQ",
      expectedSeq: 2n,
    },
    { what: "another epoch", change: { epoch: 99n }, reason: "EPOCH_OLD" },
    { what: "another incarnation", change: { incarnation: 9n }, reason: "INCARNATION_OLD" },
    { what: "another chain", change: { previousHead: randomBytes(32) }, reason: "CHAIN_BROKEN" },
  ])("fences $what", async ({ change, reason, expectedSeq = 2n }) => {
    await send({ at: 1, value: 1n });
    const batch = { ...batchOf({ at: 2, value: 2n }), ...change };
    const records = batch.records.map((each, at) => ({
      ...each,
      seq: batch.firstSeq + BigInt(at),
    }));
    const answer = await usage.ingest(store().database, agent(), { ...batch, records });
    expect(answer).toEqual({ kind: "fenced", reason, expectedSeq });
    expect((await sums())[0]?.quantity).toBe(1n);
  });

  it("tells a fork: the same number with another content", async () => {
    const batch = batchOf({ at: 1, value: 1n });
    await usage.ingest(store().database, agent(), batch);
    const answer = await usage.ingest(store().database, agent(), {
      ...batch,
      head: randomBytes(32),
    });
    expect(answer).toMatchObject({ kind: "fenced", reason: "IDENTITY_FORKED" });
  });

  it("resumes an agent that knows less, and begins an epoch for one that lost records", async () => {
    await send({ at: 1, value: 1n }, { at: 2, value: 2n });
    const open = (change: object) => openStream({ ...opening(), epoch, ...change });
    const resumed = await open({ nextSeq: 3n });
    expect(resumed).toMatchObject({ isResumed: true, epoch, acceptedSeq: 2n });
    expect(await open({ nextSeq: 2n })).toMatchObject({ isResumed: false, epoch: epoch + 1n });
  });

  it("begins an epoch after a new incarnation, above every known one", async () => {
    const open = { ...opening(), epoch: 41n, nextSeq: 5n };
    const opened = await openStream(open);
    expect(opened).toMatchObject({ isResumed: false, epoch: 42n, acceptedSeq: 0n });
  });

  it("adds nothing when an agent sends everything again in a new epoch", async () => {
    await send({ at: 1, value: 10n }, { at: 2, value: 20n });
    const fresh = await openStream(opening());
    epoch = fresh.epoch;
    head = fresh.acceptedHead;
    nextSeq = 1n;
    expect(
      await verdictsOf({ at: 1, value: 10n }, { at: 2, value: 20n }, { at: 3, value: 30n }),
    ).toEqual(["duplicate", "duplicate"]);
    expect((await sums())[0]?.quantity).toBe(30n);
  });

  it("says the last window end of each series of the cell", async () => {
    await send({ at: 1, value: 10n }, { at: 4, value: 20n }, { at: 2, value: 1n, source: "s2" });
    const ends = await readWithContext(store().database, agent(), (tx) =>
      streams.seriesEnds(tx, world.cellId, new Uint8Array()),
    );
    const minutes = ends.map(({ windowEndMs }) => (windowEndMs - base) / MINUTE);
    expect(minutes.toSorted((a, b) => Number(a - b))).toEqual([2n, 4n]);
  });

  it("refuses an agent whose context is of another cell", async () => {
    const other = agentContext(world.vendorId, newId(), world.agentId);
    const answer = await usage.ingest(store().database, other, batchOf({ at: 1, value: 1n }));
    expect(answer).toMatchObject({ kind: "fenced", reason: "EPOCH_OLD" });
  });
});

describe("verdicts", () => {
  const DAY = 24 * 60;
  it.each<{ what: string; given: Given; reason: string }>([
    { what: "a decreasing counter", given: { at: 3, value: 4n }, reason: "DECREASED" },
    {
      what: "a higher value for a window before",
      given: { at: 1, value: 99n },
      reason: "CONFLICT",
    },
    { what: "an unknown meter", given: { at: 3, meter: "nope" }, reason: "METER_UNKNOWN" },
    { what: "an unknown seat", given: { at: 3, seat: newId() }, reason: "SEAT_UNKNOWN" },
    { what: "another kind than declared", given: { at: 3, kind: "window" }, reason: "KIND_WRONG" },
    { what: "2^63", given: { at: 3, value: 2n ** 63n }, reason: "VALUE_RANGE" },
    { what: "the future", given: { at: DAY, value: 9n }, reason: "WINDOW_FUTURE" },
    {
      what: "more than 35 days ago",
      given: { at: -36 * DAY, source: "s9" },
      reason: "WINDOW_LATE",
    },
  ])("sets $what aside and takes the rest", async ({ given, reason }) => {
    await send({ at: 2, value: 5n });
    const answer = await send(given, { at: 4, value: 8n });
    expect(answer).toMatchObject({ kind: "accepted", acceptedSeq: 3n });
    expect(answer.kind === "accepted" && answer.verdicts).toEqual([
      { seq: 2n, verdict: "quarantined", reason },
    ]);
    expect((await sums()).find(({ meter }) => meter === "rows")?.quantity).toBe(8n);
    const aside = await readWithContext(store().database, agent(), (tx) =>
      usage.quarantined(tx, world.agentId),
    );
    expect(aside).toEqual([{ reason, records: 1n }]);
  });

  it("takes an occurrence once, in whichever batch it comes again", async () => {
    const job = { meter: "jobs", kind: "occurrence", value: 1n } as const;
    await send({ ...job, at: 1, detail: "a" }, { ...job, at: 1, detail: "b" });
    expect(
      await verdictsOf({ ...job, at: 2, detail: "a" }, { ...job, at: 2, detail: "c" }),
    ).toEqual(["duplicate"]);
    expect((await sums())[0]?.quantity).toBe(3n);
  });

  it("takes an occurrence once within a batch", async () => {
    const job = { meter: "jobs", kind: "occurrence", value: 1n, detail: "a" } as const;
    expect(await verdictsOf({ ...job, at: 1 }, { ...job, at: 2 })).toEqual(["duplicate"]);
  });

  it("counts declared gaps and adds nothing for them", async () => {
    await send({ at: 1, value: 5n }, { at: 2, kind: "gap", detail: "SOURCE_GONE" });
    const [line] = await readWithContext(store().database, world.context, (tx) =>
      usage.query(tx, { startMs: 0n, endMs: base * 2n, limit: 10 }),
    );
    expect(line).toMatchObject({ quantity: 5n, records: 1n, gaps: 1n });
  });

  it("keeps the ledger as it is: the app role may not change or delete a record", async () => {
    await send({ at: 1, value: 5n });
    for (const sql of ["update usage_record set quantity = 0", "delete from usage_record"]) {
      const attempt = withContext(store().database, world.context, (tx) => tx.query(sql));
      await expect(attempt).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
  });
});
