/** When a look is taken, how far it goes, and how long it counts. The driver only counts how often it is asked. */

import type { Clock } from "@holdfast/shared/clock.ts";
import { expect, it } from "vitest";
import type { Driver, DriverContext, LookScope } from "../drivers/driver.ts";
import { RECORDED_ONLY_MS_MAX, SNAPSHOT_AGE_MS_MAX, Snapshots } from "./snapshots.ts";

const KIND = "counted";

function world(knowsAll = true) {
  const looks: (LookScope | string)[] = [];
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
  const one = (scope: LookScope) => async (instanceId: string) => {
    looks.push(`${scope} of ${instanceId}`);
    return [];
  };
  const observeOne = { recorded: one("recorded"), ...(knowsAll && { all: one("all") }) };
  const drivers = new Map([
    [KIND, { kind: KIND, observe, observeOne } as Partial<Driver> as Driver],
  ]);
  const snapshots = new Snapshots(clock, drivers, {} as DriverContext);
  return {
    snapshots,
    looks,
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

const ONE = "ins_1";
const OTHER = "ins_2";

it("looks at everything at the first beat, and again after a bounded time", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.of(ONE, KIND, "recorded", 0);
  expect(looks).toEqual(["all"]);
  pass(SNAPSHOT_AGE_MS_MAX + 1);
  await snapshots.of(ONE, KIND, "recorded", SNAPSHOT_AGE_MS_MAX);
  expect(looks).toEqual(["all", "recorded"]);
  pass(RECORDED_ONLY_MS_MAX);
  await snapshots.of(ONE, KIND, "recorded", RECORDED_ONLY_MS_MAX);
  expect(looks).toEqual(["all", "recorded", "all"]);
});

it("never takes a look at what is recorded for a look at everything", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.recent(KIND);
  pass(SNAPSHOT_AGE_MS_MAX + 1);
  await snapshots.of(ONE, KIND, "recorded", SNAPSHOT_AGE_MS_MAX);
  await snapshots.recent(KIND);
  expect(looks).toEqual(["all", "recorded", "all"]);
});

it("shares one look among all who look at a beat, however late they come", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.of(ONE, KIND, "recorded", 0);
  pass(10 * SNAPSHOT_AGE_MS_MAX);
  await snapshots.of(OTHER, KIND, "recorded", 0);
  expect(looks).toEqual(["all"]);
});

it("looks again at an instance to which something was done, and at no other", async () => {
  const { snapshots, looks, pass } = world();
  await snapshots.recent(KIND);
  snapshots.spoil(KIND, ONE);
  await snapshots.of(OTHER, KIND, "all", 0);
  expect(looks).toEqual(["all"]);
  pass(1);
  await snapshots.of(ONE, KIND, "recorded", 0);
  await snapshots.of(ONE, KIND, "recorded");
  expect(looks).toEqual(["all", `recorded of ${ONE}`]);
  snapshots.spoil(KIND, ONE);
  pass(1);
  await snapshots.of(ONE, KIND);
  await snapshots.recent(KIND);
  expect(looks).toEqual(["all", `recorded of ${ONE}`, `all of ${ONE}`, "all"]);
});

it("looks at all instances where the driver cannot look at one", async () => {
  const { snapshots, looks } = world(false);
  await snapshots.freshOf(ONE, KIND, "recorded");
  await snapshots.freshOf(ONE, KIND, "all");
  expect(looks).toEqual([`recorded of ${ONE}`, "all"]);
});
