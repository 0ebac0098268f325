/** When a look is taken, how far it goes, and how long it counts. The driver only counts how often it is asked. */

import type { Clock } from "@holdfast/shared/clock.ts";
import { expect, it } from "vitest";
import type { Driver, DriverContext, LookScope } from "../drivers/driver.ts";
import { RECORDED_ONLY_MS_MAX, SNAPSHOT_AGE_MS_MAX, Snapshots } from "./snapshots.ts";

const KIND = "counted";

function world() {
  const looks: LookScope[] = [];
  let nowMs = 0;
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    sleep: (_ms, signal) =>
      new Promise((resolve) => signal?.addEventListener("abort", () => resolve())),
  };
  const observe: Driver["observe"] = async (_context, scope = "all") => {
    looks.push(scope);
    return [];
  };
  const drivers = new Map([[KIND, { kind: KIND, observe } as Driver]]);
  const snapshots = new Snapshots(clock, drivers, {} as DriverContext);
  return {
    snapshots,
    looks,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

it("looks at everything first, and again after a bounded time", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.recent(KIND, "recorded");
  expect(looks).toEqual(["all"]);
  pass(SNAPSHOT_AGE_MS_MAX + 1);
  await snapshots.recent(KIND, "recorded");
  expect(looks).toEqual(["all", "recorded"]);
  pass(RECORDED_ONLY_MS_MAX);
  await snapshots.recent(KIND, "recorded");
  expect(looks).toEqual(["all", "recorded", "all"]);
});

it("never takes a look at what is recorded for a look at everything", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.recent(KIND);
  pass(SNAPSHOT_AGE_MS_MAX + 1);
  await snapshots.recent(KIND, "recorded");
  await snapshots.recent(KIND);
  expect(looks).toEqual(["all", "recorded", "all"]);
});

it("counts no look of either scope that was taken before something was done", async () => {
  const { snapshots, looks } = world();
  await snapshots.recent(KIND);
  await snapshots.recent(KIND, "recorded");
  expect(looks).toEqual(["all"]);
  snapshots.spoil(KIND);
  await snapshots.recent(KIND, "recorded");
  snapshots.spoil(KIND);
  await snapshots.recent(KIND, "recorded");
  expect(looks).toEqual(["all", "recorded", "recorded"]);
});
