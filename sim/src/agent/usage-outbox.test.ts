/** The outbox in memory keeps the promises that the usage stream builds on. */
import { seriesDigest } from "@holdfast/shared/usage.ts";
import { describe, expect, it } from "vitest";
import { MemoryOutbox, WAITING_RECORDS_MAX } from "./usage-outbox.ts";

const series = (source: string) => {
  const names = { instanceId: "ins_1", resource: "idle", meter: "uptime", seatId: "sea_1" };
  return { ...names, source, dimensions: {} };
};

function record(source: string, window: number) {
  const digest = Buffer.from(seriesDigest(series(source))).toString("hex");
  const [windowStartMs, windowEndMs] = [window * 1_000, (window + 1) * 1_000];
  const value = BigInt(window + 1);
  return { series: series(source), digest, windowStartMs, windowEndMs, value };
}

describe("the outbox of a simulated agent", () => {
  it("numbers records from 1 on and forgets what was accepted", () => {
    const outbox = new MemoryOutbox();
    outbox.append([record("a", 0), record("a", 1), record("a", 2)]);
    outbox.accept(2n, new Uint8Array(32));
    expect(outbox.rows(0n, 99n, 10).map(({ seq }) => seq)).toEqual([3n]);
    expect(outbox.state()).toMatchObject({ nextSeq: 4n, acceptedSeq: 2n });
    expect(outbox.lastEnd(record("a", 2).digest)).toBe(3_000);
  });

  it("renumbers for a new epoch what is later than the hub's last window, and cuts into it", () => {
    const outbox = new MemoryOutbox();
    outbox.append([record("a", 0), record("a", 1), record("b", 0)]);
    outbox.renumber(7n, 1n, new Map([[record("a", 1).digest, 1_500n]]));
    const rows = outbox.rows(0n, 99n, 10);
    expect(rows.map(({ seq, windowStartMs }) => [seq, windowStartMs])).toEqual([
      [1n, 1_500n],
      [2n, 0n],
    ]);
    expect(outbox.state()).toMatchObject({ epoch: 7n, nextSeq: 3n, acceptedSeq: 0n });
  });

  it("lets the newest record of a series stand for all where too many wait", () => {
    const outbox = new MemoryOutbox();
    const windows = Array.from({ length: WAITING_RECORDS_MAX + 1 }, (_, at) => record("a", at));
    outbox.append(windows);
    const last = windows.at(-1);
    outbox.renumber(1n, 1n, new Map());
    const [only, ...more] = outbox.rows(0n, 1_000_000n, 10);
    expect(more).toEqual([]);
    expect(only).toMatchObject({ value: last?.value, windowStartMs: 0n });
    expect(only?.windowEndMs).toBe(BigInt(last?.windowEndMs ?? 0));
  });
});
