/** From measurements to records. */
import { create } from "@bufbuild/protobuf";
import { SeatEntitlementSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { MeterSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { describe, expect, it } from "vitest";
import type { DriverReading } from "../drivers/driver.ts";
import { driverMeasurements, scrapeMeasurements, toRecords, windowStart } from "./records.ts";

const seat = (seatId: string, reserved = false) =>
  create(SeatEntitlementSchema, { seatId, name: seatId, reserved });
const cpu = create(MeterSchema, {
  name: "cpu",
  source: { case: "driver", value: { resource: "worker", counter: "cpu_ms" } },
});
const rows = create(MeterSchema, {
  name: "rows",
  source: {
    case: "scrape",
    value: { resource: "worker", metric: "m", seatLabel: "seat", sourceLabel: "source" },
  },
});
const reading = (change: Partial<DriverReading> = {}): DriverReading => ({
  key: { instanceId: "ins_1", resourceId: "worker" },
  source: "boot-1-1",
  counter: "cpu_ms",
  value: 7n,
  final: false,
  at: 1_234,
  ...change,
});
const dedicated = { instanceId: "ins_1", meters: [cpu, rows], seats: [seat("sea_a")] };
const pooled = { ...dedicated, seats: [seat("sea_a"), seat("sea_r", true), seat("sea_b")] };

describe("driverMeasurements", () => {
  it.each([
    { it: "gives a dedicated instance's counters to its seat", of: dedicated, seat: "sea_a" },
    { it: "gives a pooled instance's counters to the vendor's seat", of: pooled, seat: "sea_r" },
  ])("$it", ({ of, seat }) => {
    expect(driverMeasurements(of, [reading()], 60_000)).toMatchObject([
      { series: { seatId: seat, meter: "cpu", source: "boot-1-1" }, value: 7n, at: 60_000 },
    ]);
  });

  it("ends a source that has ended when it ended, and skips other instances", () => {
    const ended = reading({ final: true });
    const other = reading({ key: { instanceId: "ins_2", resourceId: "worker" } });
    expect(driverMeasurements(dedicated, [ended, other], 60_000).map(({ at }) => at)).toEqual([
      1_234,
    ]);
  });

  it("never makes a reading without a seat", () => {
    expect(driverMeasurements({ ...dedicated, seats: [] }, [reading()], 60_000)).toEqual([]);
  });
});

describe("scrapeMeasurements", () => {
  it("counts only seats that the instance has and sources that have a name", () => {
    const samples = [
      { labels: { seat: "sea_a", source: "d" }, value: 1n },
      { labels: { seat: "sea_foreign", source: "d" }, value: 2n },
      { labels: { seat: "sea_b", source: "" }, value: 3n },
      { labels: { seat: "sea_b" }, value: 4n },
    ];
    const found = scrapeMeasurements(pooled, rows, samples, 60_000);
    expect(found.map(({ value }) => value)).toEqual([1n]);
  });
});

describe("toRecords", () => {
  const series = {
    instanceId: "ins_1",
    resource: "worker",
    source: "d",
    meter: "rows",
    dimensions: {},
    seatId: "sea_a",
  };

  it("takes the larger of two copies that show the same durable counter", () => {
    const both = [5n, 9n, 7n].map((value) => ({ series, value, at: 60_000 }));
    const made = toRecords(both, () => undefined, 60_000);
    expect(made.map(({ value, windowStartMs }) => [value, windowStartMs])).toEqual([[9n, 0]]);
  });

  it("goes on where the series ended and never overlaps", () => {
    const one = [{ series, value: 5n, at: 60_000 }];
    expect(toRecords(one, () => 42_000, 60_000)[0]?.windowStartMs).toBe(42_000);
    expect(toRecords(one, () => 60_000, 60_000)).toEqual([]);
    expect(toRecords(one, () => 90_000, 60_000)).toEqual([]);
  });
});

describe("windowStart", () => {
  it("aligns to 1970 UTC", () => {
    expect(windowStart(119_999, 60_000)).toBe(60_000);
    expect(windowStart(120_000, 60_000)).toBe(120_000);
  });
});
