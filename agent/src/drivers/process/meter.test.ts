/** Usage of real processes: it only grows, survives the agent and the copy, and is forgotten only once it is kept. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DriverReading, Live } from "../driver.ts";
import { bootId, readProcess } from "../host-process/proc.ts";
import { ask, createWorld, eventually, INSTANCE, type World } from "./process.test-world.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const busy = () => world.wanted({ with: { env: { MODE: "busy" } } });
const readings = () => world.driver().readings(world.context);
const count = (all: readonly DriverReading[], counter: string) =>
  all.find((each) => each.counter === counter)?.value ?? -1n;
const runDir = (live: Live) => join(world.context.directories(INSTANCE).run, live.handle);

describe("readings", () => {
  it("are those of the kernel, named by boot, pid and start", async () => {
    const live = await world.running(busy());
    const { pid } = await ask(live);
    const used = await eventually("half a second of work", async () => {
      const all = await readings();
      return count(all, "cpu_ms") > 500n ? all : undefined;
    });
    const { startTicks = 0, ownTicks = 0 } = readProcess("/proc", pid) ?? {};
    expect(new Set(used.map(({ source }) => source))).toEqual(
      new Set([`${bootId("/proc")}:${pid}:${startTicks}`]),
    );
    // Ticks of user and of system time are cut off, each to 10 ms; a control group counts to the microsecond.
    expect(Number(count(used, "cpu_ms"))).toBeLessThanOrEqual((ownTicks + 3) * 10);
    expect(used.every(({ final }) => !final)).toBe(true);
    expect(used.map(({ counter }) => counter)).toEqual(["cpu_ms", "uptime_s", "memory_mib_s"]);
  });

  it("add memory up over time", async () => {
    const live = await world.running(world.wanted());
    await readings();
    const before = performance.now();
    const first = await eventually("some memory times time", async () => {
      const all = await readings();
      return count(all, "memory_mib_s") >= 20n ? all : undefined;
    });
    const elapsed = (performance.now() - before) / 1000;
    const status = readFileSync(`/proc/${(await ask(live)).pid}/status`, "utf8");
    const mib = Number(status.match(/VmRSS:\s+(\d+)/)?.[1] ?? 0) / 1024;
    const uptime = Number(count(first, "uptime_s")) + 1;
    expect(Number(count(first, "memory_mib_s"))).toBeLessThan(mib * 1.5 * (uptime + elapsed));
  });

  it("name another source for memory whose sum was lost, and the same one for what the kernel counts", async () => {
    const live = await world.running(busy());
    const before = await readings();
    rmSync(join(runDir(live), "meter.json"));
    const after = await readings();
    const source = (all: readonly DriverReading[], counter: string) =>
      all.find((each) => each.counter === counter)?.source ?? "";
    expect(source(after, "cpu_ms")).toBe(source(before, "cpu_ms"));
    expect(source(after, "memory_mib_s")).not.toBe(source(before, "memory_mib_s"));
    expect(source(after, "memory_mib_s")).toContain(source(before, "memory_mib_s"));
    expect(count(after, "memory_mib_s")).toBe(0n);
  });

  it("never fall when the kernel shows less than before", async () => {
    const live = await world.running(busy());
    await readings();
    const path = join(runDir(live), "meter.json");
    const kept = JSON.parse(readFileSync(path, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...kept, cpuMs: 9_000_000, uptimeMs: 9_000_000 }));
    const after = await readings();
    const used = count(after, "cpu_ms");
    expect(used >= 9_000_000n && used < 9_060_000n).toBe(true);
    expect(count(after, "uptime_s")).toBe(9_000n);
  });

  it("have the last ones of a stopped copy, which are more than those before the stop", async () => {
    const live = await world.running(busy());
    await eventually(
      "a little work",
      async () => count(await readings(), "cpu_ms") > 50n || undefined,
    );
    const { pid } = await ask(live);
    const before = BigInt((readProcess("/proc", pid)?.ownTicks ?? 0) * 10);
    await world.carryOut(world.driver().steps([live], undefined, undefined, 0), busy());
    const last = await readings();
    expect(last.every(({ final }) => final)).toBe(true);
    expect(count(last, "cpu_ms")).toBeGreaterThanOrEqual(before);
  });

  it("have the last ones of a copy that ended by itself, of its last sample at least", async () => {
    const live = await world.running(busy());
    const sampled = await readings();
    process.kill((await ask(live)).pid, "SIGKILL");
    const exited = await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    const last = await readings();
    for (const [n, each] of sampled.entries()) {
      // A control group knows what was used after the sample.
      expect(last[n]?.value).toBeGreaterThanOrEqual(each.value);
      const { value } = last[n] ?? each;
      expect(last[n]).toEqual({ ...each, value, final: true, at: exited.exitedAt });
    }
    expect(await readings()).toEqual(last);
  });

  it("of ended copies go only once they were handed out and are kept", async () => {
    const live = await world.running(busy());
    await world.carryOut(world.driver().steps([live], undefined, undefined, 0), busy());
    const later = world.context.clock.now() + 60_000;
    await world.driver().readingsKept(later, world.context);
    const last = await readings();
    expect(last).toHaveLength(3);
    await world.driver().readingsKept((last[0]?.at ?? 0) - 1, world.context);
    expect(await readings()).toEqual(last);
    await world.driver().readingsKept(last[0]?.at ?? 0, world.context);
    expect(await readings()).toEqual([]);
  });

  it("of a copy whose record was lost for a while are not lost", async () => {
    const live = await world.running(busy());
    const sampled = await readings();
    rmSync(join(runDir(live), "record.json"));
    await world.observe();
    process.kill((await ask(live)).pid, "SIGKILL");
    await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    const last = await readings();
    expect(count(last, "cpu_ms")).toBe(count(sampled, "cpu_ms"));
  });
});
