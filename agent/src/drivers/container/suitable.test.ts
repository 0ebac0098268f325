/** Engines that the driver cannot work with, and what of a spec an engine cannot keep: told, never left out in silence. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createWorld, describeOnEngine, refusal, type World } from "./container.test-world.ts";
import { containerDriver } from "./index.ts";
import { type Lesser, type LesserEngine, lesserEngine } from "./lesser-engine.test-world.ts";

let world: World;
let engine: LesserEngine;
let lesser: Lesser;

describeOnEngine("an engine", (its) => {
  beforeEach(async () => {
    lesser = {};
    engine = await lesserEngine(its.engine(), () => lesser);
    const { dial } = its.engine();
    world = createWorld({ ...engine, dial }, its.image());
  });
  afterEach(async () => {
    lesser = {};
    await world.end();
    engine.end();
  });

  it("that is as it should be is not missing", async () => {
    expect(await world.driver().missing()).toBeUndefined();
  });

  it.each([
    ["is too old", { version: { ApiVersion: "1.40" } }, "API is 1.40; at least 1.41 is needed"],
    ["says no version", { version: { ApiVersion: "" } }, "at least 1.41 is needed"],
    ["runs other systems", { info: { OSType: "windows" } }, "runs containers of windows"],
    ["has no control groups", { info: { CgroupDriver: "none" } }, "has no control groups here"],
  ])(
    "that %s is missing, and starts nothing if it comes after the agent",
    async (_, its, words) => {
      lesser = its;
      expect(await world.driver().missing()).toContain(words);
      expect(await refusal(world, world.wanted())).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "ENGINE_UNSUITABLE",
        message: expect.stringContaining(words),
      });
      expect(await world.observe()).toEqual([]);
    },
  );

  it("whose socket is not there is missing, and one that is only away is not", async () => {
    const socket = join(its.engine().dir, "none.sock");
    expect(await containerDriver({ ...world.host, socket }).missing()).toBe(
      `no socket at ${socket}; is a container engine installed?`,
    );
    engine.end();
    // Its socket's file goes with it here; a daemon that was killed leaves it.
    const killed = { ...world.host, socket: its.engine().dir };
    expect(await containerDriver(killed).missing()).toBeUndefined();
    engine = await lesserEngine(its.engine(), () => lesser);
  });

  it.each([
    ["limits.memoryMib", "MemoryLimit", { memoryMib: 64 }],
    ["limits.cpuMillis", "CpuCfsQuota", { cpuMillis: 500 }],
    ["limits.pids", "PidsLimit", { pids: 64 }],
  ])(
    "without a control group for %s refuses a spec that asks for it",
    async (field, name, limits) => {
      lesser = { info: { [name]: false } };
      expect(await refusal(world, world.wanted({ with: { limits } }))).toMatchObject({
        reason: "LIMIT_UNSUPPORTED",
        message: `${field}: the container engine of this host cannot keep it`,
      });
      await world.driver().prepare(world.wanted(), world.context);
    },
  );

  it("that leaves requests out is told as a caveat, and is no drift", async () => {
    lesser = { leavesOut: ["CpuShares", "MemoryReservation"] };
    const requests = { cpuMillis: 250, memoryMib: 32 };
    const wanted = world.wanted({ with: { requests } });
    const live = await world.running(wanted);
    expect(await world.driver().health(live, wanted, world.context)).toMatchObject({
      state: "ready",
      caveat: "the engine of this host cannot keep requests.cpuMillis, requests.memoryMib",
    });
    const [seen] = await world.observe();
    if (seen === undefined) throw new Error("it is gone");
    expect(world.driver().drift(seen, wanted)).toEqual([]);
    expect(world.driver().revert(seen, wanted)).toEqual([]);
  });
});
