/** Health and metrics before they are told: how often, of what, and what of it is a rate. */
import { create } from "@bufbuild/protobuf";
import { InstanceStatusSchema } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { describe, expect, it } from "vitest";
import type { VersionedStatus } from "../store/statuses.ts";
import { TelemetryBuffer } from "./buffer.ts";
import { HEALTH_LOOK_MS, HealthSampler } from "./health.ts";
import { MetricRates, restartsOf } from "./metrics.ts";

const INSTANCE = "ins_01980000000070008000000000000001";

class StillClock implements Clock {
  ms = 0;
  now = () => this.ms;
  monotonic = () => this.ms;
  sleep = async () => undefined;
}

function statusOf(version: number, reason: string): VersionedStatus {
  const conditions = [{ type: "Ready", reason }];
  const resources = [{ id: "worker", restarts: 3n }];
  const status = create(InstanceStatusSchema, { instanceId: INSTANCE, conditions, resources });
  return { version, status };
}

describe("health", () => {
  it("that flaps a hundred times a second is told once a second, by its last state", () => {
    const clock = new StillClock();
    const buffer = new TelemetryBuffer("life");
    let version = 0;
    const statuses = () => [statusOf(version, `STATE_${version}`)];
    const sampler = new HealthSampler({ statuses, buffer, clock, ring: () => undefined });
    for (let change = 0; change < 1_000; change++) {
      version += 1;
      clock.ms += 10;
      if (clock.ms % HEALTH_LOOK_MS === 0) sampler.look();
    }
    const health = buffer.take()?.telemetry.health ?? [];
    expect(health).toHaveLength(10);
    expect(health.at(-1)?.conditions[0]?.reason).toBe("STATE_1000");
  });

  it("that stays as it is is told again after a while, and not before", () => {
    const clock = new StillClock();
    const buffer = new TelemetryBuffer("life");
    const statuses = () => [statusOf(1, "SAME")];
    const sampler = new HealthSampler({ statuses, buffer, clock, ring: () => undefined });
    for (; clock.ms < 600_000; clock.ms += HEALTH_LOOK_MS) sampler.look();
    expect(buffer.take()?.telemetry.health.map(({ timeMs }) => timeMs)).toEqual([0n, 300_000n]);
  });
});

describe("metrics", () => {
  const reading = (counter: string, source: string, value: bigint, at: number) => ({
    ...{ key: { instanceId: INSTANCE, resourceId: "worker" }, counter, source, value, at },
    final: false,
  });

  it("are rates of what the driver counts, all copies of a resource together", () => {
    const rates = new MetricRates();
    expect(rates.ofReadings([reading("cpu_ms", "a", 5_000n, 0)])).toEqual([]);
    const points = rates.ofReadings([
      reading("cpu_ms", "a", 20_000n, 60_000),
      reading("cpu_ms", "b", 7n, 60_000),
      reading("memory_mib_s", "a", 100n, 60_000),
      reading("uptime_s", "a", 60n, 60_000),
    ]);
    expect(points).toEqual([
      expect.objectContaining({ name: "cpu_cores", value: 0.25, timeMs: 60_000 }),
    ]);
    const next = rates.ofReadings([
      reading("cpu_ms", "a", 50_000n, 120_000),
      reading("cpu_ms", "b", 30_007n, 120_000),
      reading("memory_mib_s", "a", 3_940n, 120_000),
    ]);
    expect(next.map(({ name, value }) => [name, value])).toEqual([
      ["cpu_cores", 1],
      ["memory_mib", 64],
    ]);
  });

  it("have no rate for a counter that went back or did not move in time", () => {
    const rates = new MetricRates();
    rates.ofReadings([reading("cpu_ms", "a", 5_000n, 60_000)]);
    expect(rates.ofReadings([reading("cpu_ms", "a", 6_000n, 60_000)])).toEqual([]);
    expect(rates.ofReadings([reading("cpu_ms", "a", 4_000n, 120_000)])).toEqual([]);
  });

  it("count restarts as the status does", () => {
    expect(restartsOf([statusOf(1, "R")], 7)).toEqual([
      expect.objectContaining({ resource: "worker", name: "restarts", isCounter: true, value: 3 }),
    ]);
  });
});
