/** What waits to be told: its order, its bounds, and that nothing is lost without being counted. */

import { zstdDecompressSync } from "node:zlib";
import { create, fromBinary } from "@bufbuild/protobuf";
import { TelemetryAckSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  LogLinesSchema,
  type Telemetry,
  TelemetryClass,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUFFER_BOUNDS, TelemetryBuffer } from "./buffer.ts";
import type { WaitingLine } from "./encode.ts";
import { TelemetryReport } from "./report.ts";

const INSTANCE = "ins_01980000000070008000000000000001";
const line = (n: number, about: Partial<WaitingLine> = {}): WaitingLine => ({
  ...{ instanceId: INSTANCE, resource: "worker", copy: "worker-1~a", timeMs: 1_000 + n },
  ...{ position: n + 1, text: `line ${n}`, cutBytes: 0, ...about },
});
const point = { instanceId: INSTANCE, resource: "worker", name: "cpu_cores", isCounter: false };
const health = (n: number) => ({ instanceId: INSTANCE, timeMs: BigInt(n) });
const ack = (seq: bigint, refused = "") => create(TelemetryAckSchema, { seq, refused });

function textsOf({ logs }: Telemetry): string[] {
  return logs.flatMap(({ data, encoding }) => {
    const plain = encoding === 2 ? new Uint8Array(zstdDecompressSync(data)) : data;
    return fromBinary(LogLinesSchema, plain).lines.map(({ text }) => text);
  });
}

function reportOf(bounds = {}) {
  const buffer = new TelemetryBuffer("life", { ...BUFFER_BOUNDS, ...bounds });
  const settled: number[] = [];
  const report = new TelemetryReport({
    buffer,
    settled: (lines) => settled.push(...lines.map(({ position }) => position)),
  });
  report.opened();
  return { buffer, report, settled };
}

const drain = (report: TelemetryReport) => {
  const all: Telemetry[] = [];
  for (let next = report.next(); next !== undefined; next = report.next()) all.push(next);
  return all;
};

describe("what waits", () => {
  it("goes health before metrics before logs, whatever came first", () => {
    const { buffer, report } = reportOf();
    buffer.putLine(line(0));
    buffer.putPoint({ ...point, timeMs: 1, value: 0.5 });
    buffer.putHealth(health(1));
    expect(drain(report).map((each) => each.class)).toEqual([
      TelemetryClass.HEALTH,
      TelemetryClass.METRICS,
      TelemetryClass.LOGS,
    ]);
  });

  it("is told of as missing, oldest first, where it does not fit", () => {
    const { buffer, report } = reportOf({ logLinesMax: 10 });
    for (let n = 0; n < 1_214; n++) buffer.putLine(line(n));
    const [first] = drain(report);
    expect(first?.missing).toEqual([
      expect.objectContaining({
        ...{ class: TelemetryClass.LOGS, instanceId: INSTANCE, reason: "BUFFER_FULL" },
        ...{ count: 1_204n, firstTimeMs: 1_000n, lastTimeMs: 2_203n },
      }),
    ]);
    expect(first === undefined ? [] : textsOf(first)).toHaveLength(10);
  });

  it("is bounded by class: a flood of logs costs no health and no metrics", () => {
    const { buffer, report } = reportOf({ logBytesMax: 10_000 });
    buffer.putHealth(health(1));
    buffer.putPoint({ ...point, timeMs: 1, value: 1 });
    for (let n = 0; n < 5_000; n++) buffer.putLine(line(n, { text: "x".repeat(100) }));
    const all = drain(report);
    expect(all[0]?.health).toHaveLength(1);
    expect(all[1]?.metrics).toHaveLength(1);
    expect(all[0]?.missing.every(({ class: of }) => of === TelemetryClass.LOGS)).toBe(true);
  });

  it("goes again on the next stream if it was not answered, and before all else", () => {
    const { buffer, report, settled } = reportOf();
    buffer.putLine(line(0));
    const before = report.next();
    buffer.putLine(line(1));
    report.opened();
    const again = report.next();
    expect(again === undefined ? [] : textsOf(again)).toEqual(["line 0"]);
    expect(again).toBe(before);
    report.acked(ack(again?.seq ?? 0n));
    expect(settled).toEqual([1]);
  });

  it("is settled in the order of sending, whatever the order of the answers", () => {
    const { buffer, report, settled } = reportOf();
    const sent = [0, 1, 2].map((n) => {
      buffer.putLine(line(n));
      return report.next()?.seq ?? 0n;
    });
    report.acked(ack(sent[1] ?? 0n));
    expect(settled).toEqual([]);
    report.acked(ack(sent[0] ?? 0n));
    expect(settled).toEqual([1, 2]);
    report.acked(ack(sent[2] ?? 0n));
    expect(settled).toEqual([1, 2, 3]);
  });

  it("counts as missing when the hub refuses it, by the hub's own reason where it is one", () => {
    for (const [refused, reason] of [
      ["HUB_BUSY", "HUB_BUSY"],
      ["<script>", "HUB_REFUSED"],
    ] as const) {
      const { buffer, report } = reportOf();
      for (let n = 0; n < 5; n++) buffer.putLine(line(n));
      report.acked(ack(report.next()?.seq ?? 0n, refused));
      const [note] = drain(report);
      expect(note?.missing).toEqual([expect.objectContaining({ reason, count: 5n })]);
    }
  });

  it("is told once or counted once, whatever happens to streams and answers", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("line" as const) }),
      fc.record({ do: fc.constant("send" as const) }),
      fc.record({ do: fc.constant("answer" as const), kept: fc.boolean(), which: fc.nat(3) }),
      fc.record({ do: fc.constant("reopen" as const), kept: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { buffer, report } = reportOf({ logLinesMax: 7 });
        const kept = new Set<string>();
        const missing = new Map<string, bigint>();
        let waiting: Telemetry[] = [];
        let put = 0;
        const keep = (message: Telemetry) => {
          for (const text of textsOf(message)) kept.add(text);
          for (const { id, count } of message.missing) missing.set(id, count);
        };
        const answer = (message: Telemetry, isKept: boolean) => {
          if (isKept) keep(message);
          report.acked(ack(message.seq, isKept ? "" : "HUB_BUSY"));
        };
        for (const each of steps) {
          if (each.do === "line") buffer.putLine(line(put++));
          else if (each.do === "send") {
            const next = waiting.length < 4 ? report.next() : undefined;
            if (next !== undefined) waiting.push(next);
          } else if (each.do === "answer") {
            const [message] = waiting.splice(each.which % Math.max(1, waiting.length), 1);
            if (message !== undefined) answer(message, each.kept);
          } else {
            // The hub may have kept them although nobody heard of it.
            if (each.kept) waiting.forEach(keep);
            waiting = [];
            report.opened();
          }
        }
        for (const message of waiting) answer(message, true);
        for (const message of drain(report)) answer(message, true);
        for (const message of drain(report)) answer(message, true);
        const lost = [...missing.values()].reduce((sum, count) => sum + count, 0n);
        expect(BigInt(kept.size) + lost).toBeGreaterThanOrEqual(BigInt(put));
      }),
      { numRuns: 300 },
    );
  });
});
