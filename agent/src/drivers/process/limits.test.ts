/**
 * Limits on real processes: kept by the control groups of this host where it gives any, watched by the agent where it
 * does not, and never passed over in silence.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, describe, expect, it } from "vitest";
import type { JsonObject, Live, Wanted } from "../driver.ts";
import { processesIn, pruneGroups, usageOf } from "../host-process/cgroup.ts";
import { findPlaces } from "../host-process/cgroup-places.ts";
import { findCopies } from "../host-process/copies.ts";
import { caveatOf, planGroups, rulesOf } from "../host-process/limits.ts";
import { readRecord } from "../host-process/record.ts";
import { ask, createWorld, eventually, INSTANCE, type World } from "./process.test-world.ts";

let world: World;
afterEach(() => world.end());

const OFF = "process_cgroups is off";
const withGroups = () => {
  world = createWorld();
};
const withoutGroups = () => {
  world = createWorld(systemClock, undefined, { withoutGroups: OFF });
};
const limited = (mode: string, more: JsonObject) =>
  world.wanted({ with: { env: { MODE: mode }, ...more } });
const runDir = (live: Live) => join(world.context.directories(INSTANCE).run, live.handle);
const go = () => writeFileSync(join(world.context.directories(INSTANCE).data, "go"), "");
const healthOf = (live: Live, wanted: Wanted) => world.driver().health(live, wanted, world.context);
const places = () => findPlaces("/proc", world.stateDir);

describe("with control groups", () => {
  it("a copy is in groups of its own, which go with it, and nothing is left behind", async () => {
    withGroups();
    const folders = Object.values(places().found).map(({ dir }) => dir);
    const offered = places().found.memory !== undefined;
    pruneGroups("/proc", world.stateDir);
    const wanted = world.wanted();
    const live = await world.running(wanted);
    const groups = readRecord(runDir(live))?.groups ?? {};
    expect(Object.keys(groups).length > 0).toBe(offered);
    if (offered) expect(processesIn(groups)).toContain((await ask(live)).pid);
    await world.carryOut(world.driver().steps([live], wanted, undefined, 0), wanted);
    expect(folders.filter((dir) => existsSync(dir))).toEqual([]);
  });

  it("has what was asked for written into the kernel, or says what is missing", async () => {
    withGroups();
    const limits = { cpuMillis: 250, memoryMib: 512, pids: 64 };
    const requests = { cpuMillis: 100, memoryMib: 64 };
    const wanted = limited("", { limits, requests });
    const live = await world.running(wanted);
    const { groups = {}, kept = [] } = readRecord(runDir(live)) ?? {};
    const plan = planGroups({ limits, requests }, places());
    for (const { controller, file, value, optional } of plan.writes) {
      const { dir = "" } = groups[controller] ?? {};
      if (!optional) expect(readFileSync(join(dir, file), "utf8").trim()).toBe(value);
    }
    const missing = rulesOf({ limits, requests }).filter(
      ({ controller }) => places().found[controller] === undefined,
    );
    expect(kept.filter(({ how }) => how !== "cgroup").map(({ what }) => what)).toEqual(
      missing.map(({ what }) => what),
    );
    const { caveat } = await healthOf(live, wanted);
    expect(caveat).toBe(missing.length === 0 ? undefined : caveatOf(kept));
  });

  it("ends a copy that takes too much memory, and says that this is why", async () => {
    withGroups();
    const wanted = limited("eater", { limits: { memoryMib: 96 } });
    const live = await world.running(wanted);
    go();
    const isKept = places().found.memory !== undefined;
    const seen = await eventually("it is noticed", async () => {
      await healthOf(live, wanted);
      return (await world.observe()).find(({ phase, failing }) => phase === "exited" || failing);
    });
    if (isKept)
      expect(seen.message).toMatch(/^killed by SIGKILL for want of memory \(memory limit 96 MiB\)/);
    else expect(seen.message).toContain("its memory limit is 96 MiB");
  });

  it("has no more processes than allowed", async () => {
    withGroups();
    const wanted = limited("forker", { limits: { pids: 25 } });
    const live = await world.running(wanted);
    go();
    const isKept = places().found.pids !== undefined;
    await eventually("the limit shows", async () => {
      const lines = await world.driver().logs(live, 5, world.context);
      const { message } = await healthOf(live, wanted);
      return isKept
        ? lines.find((line) => line === "fork: EAGAIN")
        : message.match(/its pids limit is 25/);
    });
  });

  it("counts what every process used, also of those that have ended", async () => {
    withGroups();
    const wanted = limited("heir", {});
    const live = await world.running(wanted);
    go();
    await eventually(
      "the child has ended",
      () => existsSync(join(world.context.directories(INSTANCE).data, "done")) || undefined,
    );
    const all = await world.driver().readings(world.context);
    expect(all.find(({ counter }) => counter === "cpu_ms")?.value).toBeGreaterThan(110n);
    const groups = readRecord(runDir(live))?.groups ?? {};
    if (places().found.memory !== undefined) {
      expect(usageOf(groups).memoryKib).toBeGreaterThan(1_000);
      expect(usageOf(groups).oomKills).toBe(0);
    }
  });

  it("ends a child that left session, group and marks", async () => {
    withGroups();
    const wanted = limited("daemon", { stop: { graceMs: 500 } });
    const live = await world.running(wanted);
    const path = join(world.context.directories(INSTANCE).data, "daemon.pid");
    const pid = Number(readFileSync(path, "utf8"));
    const [copy] = await findCopies(world.host, world.context);
    const isSeen = copy?.members.some((member) => member.pid === pid) ?? false;
    expect(isSeen).toBe(places().found.memory !== undefined);
    await world.carryOut(world.driver().steps([live], wanted, undefined, 0), wanted);
    expect(await world.observe()).toEqual([]);
    if (isSeen) expect(existsSync(`/proc/${pid}/status`) && isRunning(pid)).toBe(false);
    else process.kill(pid, "SIGKILL");
  });

  it("finds and ends what a main process leaves behind when it ends by itself", async () => {
    withGroups();
    const wanted = limited("daemon", { restart: { baseMs: 10, capMs: 10 } });
    const live = await world.running(wanted);
    const path = join(world.context.directories(INSTANCE).data, "daemon.pid");
    const pid = Number(readFileSync(path, "utf8"));
    process.kill((await ask(live)).pid, "SIGKILL");
    await eventually("it has ended", async () =>
      (await world.observe()).find(({ phase }) => phase === "exited"),
    );
    expect(isRunning(pid)).toBe(true);
    await world.running(wanted);
    const isGone = places().found.memory !== undefined;
    expect(isRunning(pid)).toBe(!isGone);
    if (!isGone) process.kill(pid, "SIGKILL");
  });
});

describe("without control groups", () => {
  it("says of every limit what becomes of it", async () => {
    withoutGroups();
    const limits = { cpuMillis: 250, memoryMib: 512, pids: 64 };
    const wanted = limited("", { limits });
    const live = await world.running(wanted);
    expect(readRecord(runDir(live))?.groups).toEqual({});
    expect(await healthOf(live, wanted)).toMatchObject({
      state: "ready",
      alive: true,
      caveat: [
        `memory limit 512 MiB is watched by the agent, not kept by the kernel (${OFF})`,
        `cpu limit 250 m does not apply here (${OFF})`,
        `pids limit 64 is watched by the agent, not kept by the kernel (${OFF})`,
      ].join("; "),
    });
  });

  it.each([
    {
      mode: "eater",
      limits: { memoryMib: 96 },
      says: /uses \d+ MiB of memory; its memory limit is 96 MiB/,
    },
    // The look may come while it still starts its twenty.
    {
      mode: "forker",
      limits: { pids: 10 },
      says: /has (?:1[1-9]|2[01]) processes; its pids limit is 10/,
    },
  ])(
    "ends a copy of mode $mode beyond its limit and starts it again",
    async ({ mode, limits, says }) => {
      withoutGroups();
      const wanted = limited(mode, { limits, restart: { baseMs: 10, capMs: 10 } });
      const live = await world.running(wanted);
      go();
      const failing = await eventually("it is noticed", async () => {
        const { alive, message } = await healthOf(live, wanted);
        return alive ? undefined : message;
      });
      expect(failing).toMatch(says);
      const seen = await world.observe();
      const steps = world.driver().steps(seen, wanted, wanted, world.context.clock.now());
      expect(steps).toMatchObject([{ verb: "stop", input: { keep: true } }]);
      expect(steps[0]?.summary).toMatch(says);
      await world.carryOut(steps, wanted);
      const [exited] = await world.observe();
      expect(exited).toMatchObject({ phase: "exited" });
      const again = await world.driver().steps([exited as Live], wanted, wanted, 0);
      expect(again).toMatchObject([{ verb: "start", input: { restarts: 1 } }]);
    },
  );

  it("counts a child that has ended and was waited for", async () => {
    withoutGroups();
    const live = await world.running(limited("heir", {}));
    go();
    await eventually(
      "the child has ended",
      () => existsSync(join(world.context.directories(INSTANCE).data, "done")) || undefined,
    );
    const all = await world.driver().readings(world.context);
    expect(all.find(({ counter }) => counter === "cpu_ms")?.value).toBeGreaterThan(110n);
    expect(live.phase).toBe("running");
  });
});

describe("a limit that is still an expression", () => {
  it("is no limit that could be left out: the start is refused", async () => {
    withGroups();
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the syntax of expressions
    const wanted = limited("", { limits: { memoryMib: "${params.memory}" } });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "SPEC_INVALID",
      message: expect.stringContaining("spec.limits.memoryMib"),
    });
  });
});

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
