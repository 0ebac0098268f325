/**
 * What every driver promises, as tests: a driver's own test file calls `describeDriverContract` with a scenario
 * of real work. Nothing here knows a kind.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kindRules } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  carryOut,
  type DriverScenario,
  fresh,
  lookAt,
  now,
  serving,
  stepContext,
} from "./contract.test-world.ts";
import type { LookScope } from "./driver.ts";

type Crash = string;

/** `crashes`: names of the scenario's crashes, known before it is created. */
export function describeDriverContract(
  kind: string,
  crashes: readonly Crash[],
  create: () => Promise<DriverScenario> | DriverScenario,
): void {
  describe(`driver contract: ${kind}`, () => {
    let its: DriverScenario;
    beforeEach(async () => {
      its = await create();
    });
    afterEach(() => its.end());

    describePure(() => its);
    describeWork(() => its);
    describeCrashes(() => its, crashes);
    describeDrop(() => its);
    describeKept(() => its);
    describeDrift(() => its);
  });
}

function describePure(scenario: () => DriverScenario): void {
  it("says its kind and works on this host", async () => {
    const { driver, first } = scenario();
    expect(driver().kind).toBe(first.kind);
    expect(await driver().missing()).toBeUndefined();
  });

  it("accepts the specs that it runs and refuses one of another shape", () => {
    const { driver, first } = scenario();
    expect(driver().check(first.spec, "spec")).toEqual([]);
    expect(driver().check({ ...first.spec, noSuchField: 1 }, "spec").length).toBeGreaterThan(0);
  });

  it("plans the same steps from the same facts", async () => {
    const { driver, first, second } = scenario();
    const live = await serving(scenario(), first);
    const plan = () => driver().steps([live], first, second, 1_000);
    expect(plan()).toEqual(plan());
    expect(new Set(plan().map(({ id }) => id)).size).toBe(plan().length);
  });

  it("writes steps that survive a journal", async () => {
    const { driver, first, second } = scenario();
    const live = await serving(scenario(), first);
    const steps = [...fresh(driver(), first), ...driver().steps([live], first, second, 1_000)];
    expect(JSON.parse(JSON.stringify(steps))).toEqual(steps);
  });

  it("says for how long it is waited for, and bounds each step that it plans", async () => {
    const { driver, first, second } = scenario();
    const { deadlineMs, intervalMs } = driver().readiness(first);
    expect(intervalMs).toBeGreaterThan(0);
    expect(deadlineMs).toBeGreaterThanOrEqual(intervalMs);
    expect(driver().readiness(first)).toEqual({ deadlineMs, intervalMs });
    const live = await serving(scenario(), first);
    const steps = [...fresh(driver(), first), ...driver().steps([live], first, second, 1_000)];
    const limits = steps.flatMap(({ msMax, undo }) => [msMax ?? 1, undo?.msMax ?? 1]);
    for (const msMax of limits) expect(Number.isInteger(msMax) && msMax > 0).toBe(true);
  });

  it("names an undo for each reversible step before the commit", () => {
    const { driver, first } = scenario();
    const before = fresh(driver(), first).filter(({ when }) => when === "before-commit");
    expect(before.length).toBeGreaterThan(0);
    for (const step of before) if (step.class === "reversible") expect(step.undo).toBeDefined();
  });
}

function describeWork(scenario: () => DriverScenario): void {
  it("finds nothing where nothing was done", async () => {
    const { driver, context } = scenario();
    expect(await driver().observe(context)).toEqual([]);
    expect(await driver().readings(context)).toEqual([]);
  });

  it("finds its own work again with a fresh object", async () => {
    const { driver, context, first } = scenario();
    const live = await serving(scenario(), first);
    expect(live).toMatchObject({
      key: first.key,
      digest: first.digest,
      generation: first.generation,
    });
    expect(await driver().observe(context)).toEqual([live]);
  });

  it("has nothing to do for what runs as wanted", async () => {
    const { driver, first } = scenario();
    const live = await serving(scenario(), first);
    expect(driver().steps([live], first, first, 1_000)).toEqual([]);
    expect(driver().steps([live], undefined, first, 1_000)).toEqual([]);
  });

  it("does a step once, however often it is run", async () => {
    const { driver, context, first } = scenario();
    const steps = fresh(driver(), first);
    const once = await carryOut(scenario(), steps, [first]);
    const again = await carryOut(scenario(), steps, [first]);
    expect(again.map(({ handle }) => handle)).toEqual(once.map(({ handle }) => handle));
    expect(again.map(({ outputs }) => outputs)).toEqual(once.map(({ outputs }) => outputs));
    expect(await driver().observe(context)).toHaveLength(1);
  });

  it("leaves nothing once a start is undone, also when undone twice", async () => {
    const { driver, context, first } = scenario();
    const steps = fresh(driver(), first);
    await carryOut(scenario(), steps, [first]);
    for (const turn of [1, 2]) {
      for (const { undo } of steps.toReversed()) {
        if (undo !== undefined) await driver().run(undo, stepContext(scenario(), [first]));
      }
      expect({ turn, found: await driver().observe(context) }).toEqual({ turn, found: [] });
    }
  });

  it("undoes a start that was never begun", async () => {
    const { driver, context, first } = scenario();
    for (const { undo } of fresh(driver(), first)) {
      if (undo !== undefined) await driver().run(undo, stepContext(scenario(), [first]));
    }
    expect(await driver().observe(context)).toEqual([]);
  });

  it("ends with the new one alone after a change", async () => {
    const { driver, context, first, second } = scenario();
    const old = await serving(scenario(), first);
    await carryOut(scenario(), driver().steps([old], first, second, now(scenario())), [
      first,
      second,
    ]);
    const found = await driver().observe(context);
    expect(found.map(({ digest }) => digest)).toEqual([second.digest]);
  });

  it("leaves the old one ready while the new one comes and goes again, where it is atomic", async () => {
    const { driver, context, first, second } = scenario();
    if (!driver().isAtomic) return;
    const old = await serving(scenario(), first);
    const steps = driver().steps([old], first, second, now(scenario()));
    const due = steps.filter(({ when }) => when === "before-commit");
    expect(due.map((step) => step.class)).toEqual(due.map(() => "reversible"));
    const isReady = async () => {
      const live = (await driver().observe(context)).find(({ handle }) => handle === old.handle);
      return live && (await driver().health(live, first, context)).state;
    };
    await driver().prepare(second, context);
    await carryOut(scenario(), due, [first, second]);
    expect(await isReady()).toBe("ready");
    for (const { undo } of due.toReversed()) {
      if (undo !== undefined) await driver().run(undo, stepContext(scenario(), [first, second]));
    }
    expect(await isReady()).toBe("ready");
    expect((await driver().observe(context)).map(({ handle }) => handle)).toEqual([old.handle]);
  });

  it("ends with another copy alone after a restart", async () => {
    const { driver, context, first } = scenario();
    const old = await serving(scenario(), first);
    await carryOut(scenario(), driver().restart([old], first), [first]);
    const [found, ...more] = await driver().observe(context);
    expect(more).toEqual([]);
    expect(found?.digest).toBe(first.digest);
    expect(found?.handle).not.toBe(old.handle);
  });

  it("plans the removal of a stray of an earlier life", async () => {
    const { driver, context, first, second } = scenario();
    await serving(scenario(), first);
    const both = [await serving(scenario(), second, { alone: true })];
    expect(both).toHaveLength(1);
    const found = await driver().observe(context);
    const steps = driver().steps(found, second, second, now(scenario()));
    expect(steps.every(({ when }) => when === "after-commit")).toBe(true);
    await carryOut(scenario(), steps, [second]);
    const left = await driver().observe(context);
    expect(left.map(({ digest }) => digest)).toEqual([second.digest]);
  });

  it("gives readings whose counters only grow within a source", async () => {
    const { driver, context, first } = scenario();
    await serving(scenario(), first);
    const before = await driver().readings(context);
    const after = await driver().readings(context);
    const counters = kindRules(driver().kind)?.counters ?? [];
    expect([...new Set(before.map(({ counter }) => counter))].sort()).toEqual([...counters].sort());
    for (const reading of before) {
      const same = after.find(
        ({ source, counter }) => source === reading.source && counter === reading.counter,
      );
      expect(same?.value).toBeGreaterThanOrEqual(reading.value);
    }
  });
}

function describeCrashes(scenario: () => DriverScenario, crashes: readonly Crash[]): void {
  it.each(crashes)("ends with one copy when run again after a crash: %s", async (name) => {
    const { driver, context, first } = scenario();
    const steps = fresh(driver(), first);
    const [step] = steps;
    if (step === undefined) throw new Error("a start without steps");
    await scenario()
      .crashes.find((each) => each.name === name)
      ?.leave(step);
    const outcomes = await carryOut(scenario(), steps, [first]);
    const found = await driver().observe(context);
    expect(found).toHaveLength(1);
    expect(found[0]?.handle).toBe(outcomes.at(-1)?.handle);
    expect(found[0]?.outputs).toEqual(outcomes.at(-1)?.outputs);
  });

  it.each(crashes)("leaves nothing when undone after a crash: %s", async (name) => {
    const { driver, context, first } = scenario();
    const [step] = fresh(driver(), first);
    if (step?.undo === undefined) throw new Error("a start without undo");
    await scenario()
      .crashes.find((each) => each.name === name)
      ?.leave(step);
    await driver().run(step.undo, stepContext(scenario(), [first]));
    expect(await driver().observe(context)).toEqual([]);
  });
}

function describeDrop(scenario: () => DriverScenario): void {
  it("drops an instance twice and one that never was, and keeps its data", async () => {
    const { driver, context, first } = scenario();
    await serving(scenario(), first);
    const { data, run, logs } = context.directories(first.key.instanceId);
    mkdirSync(data, { recursive: true });
    writeFileSync(join(data, "kept"), "kept");
    await driver().drop(first.key.instanceId, context);
    await driver().drop(first.key.instanceId, context);
    expect(await driver().observe(context)).toEqual([]);
    expect((await driver().readings(context)).every(({ final }) => final)).toBe(true);
    await driver().readingsKept(now(scenario()), context);
    expect([run, logs].flatMap((path) => (existsSync(path) ? readdirSync(path) : []))).toEqual([]);
    expect(existsSync(join(data, "kept"))).toBe(true);
  });

  it("sees of one instance what a look at all shows of it", async () => {
    const { driver, context, first, neighbour } = scenario();
    await serving(scenario(), first);
    await serving(scenario(), neighbour);
    const { instanceId } = first.key;
    for (const [scope, one] of Object.entries(driver().observeOne ?? {})) {
      const all = await driver().observe(context, scope as LookScope);
      const own = all.filter(({ key }) => key.instanceId === instanceId);
      expect({ scope, found: await one(instanceId, context) }).toEqual({ scope, found: own });
    }
  });

  it("does not touch another instance when it drops one", async () => {
    const { driver, context, first, neighbour } = scenario();
    await serving(scenario(), first);
    const other = await serving(scenario(), neighbour);
    await driver().drop(first.key.instanceId, context);
    expect(await driver().observe(context)).toEqual([other]);
    for (const one of Object.values(driver().observeOne ?? {})) {
      expect(await one(first.key.instanceId, context)).toEqual([]);
    }
    expect(await driver().health(other, neighbour, context)).toMatchObject({ state: "ready" });
  });

  it("keeps the last readings of what was dropped until they are durable", async () => {
    const { driver, context, first } = scenario();
    await serving(scenario(), first);
    const before = await driver().readings(context);
    await driver().drop(first.key.instanceId, context);
    const last = await driver().readings(context);
    for (const { source, counter, value } of before) {
      const final = last.find((each) => each.source === source && each.counter === counter);
      expect(final?.final).toBe(true);
      expect(final?.value).toBeGreaterThanOrEqual(value);
    }
    expect(await driver().readings(context)).toEqual(last);
    await driver().readingsKept(now(scenario()), context);
    expect(await driver().readings(context)).toEqual([]);
  });
}

function describeKept(scenario: () => DriverScenario): void {
  it("tells of the data that it holds, also after the drop, and of nothing else", async () => {
    const { driver, context, first, holdData } = scenario();
    expect(await driver().kept(context)).toEqual([]);
    await serving(scenario(), first);
    const name = await holdData?.(first.key.instanceId);
    const kept = await driver().kept(context);
    expect(kept.map((each) => each.name)).toEqual(name === undefined ? [] : [name]);
    for (const data of kept) {
      expect(data.instanceId).toBe(first.key.instanceId);
      expect(data.bytes).toBeGreaterThan(0);
      expect(data.since).toBeLessThanOrEqual(now(scenario()));
    }
    await driver().drop(first.key.instanceId, context);
    expect((await driver().kept(context)).map((each) => each.place)).toEqual(
      kept.map((each) => each.place),
    );
  });

  it("destroys what is named, twice, and nothing of another instance", async () => {
    const { driver, context, first, neighbour, holdData } = scenario();
    const { instanceId } = first.key;
    await holdData?.(instanceId);
    await holdData?.(neighbour.key.instanceId);
    const before = await driver().kept(context);
    await driver().destroy(instanceId, context, ["no-such-data"]);
    expect(await driver().kept(context)).toEqual(before);
    const names = before.filter((each) => each.instanceId === instanceId).map(({ name }) => name);
    for (const _ of ["once", "again"]) await driver().destroy(instanceId, context, names);
    const rest = await driver().kept(context);
    expect(rest).toEqual(before.filter((each) => each.instanceId !== instanceId));
    await driver().destroy(neighbour.key.instanceId, context);
    expect(await driver().kept(context)).toEqual([]);
  });
}

function describeDrift(scenario: () => DriverScenario): void {
  it("finds nothing drifted of what it has brought up, nor of what it does not own", async () => {
    const { driver, first, touch } = scenario();
    const live = await serving(scenario(), first);
    expect(driver().drift(live, first)).toEqual([]);
    expect(driver().revert(live, first)).toEqual([]);
    await touch?.(live);
    const touched = await lookAt(scenario(), first);
    expect(driver().drift(touched, first)).toEqual([]);
  });

  it("knows nothing of fields after a look at records alone", async () => {
    const { driver, context, first, meddle } = scenario();
    await meddle?.(await serving(scenario(), first));
    for (const live of await driver().observe(context, "recorded")) {
      if (live.fields === undefined) expect(driver().drift(live, first)).toEqual([]);
    }
  });

  it("names what somebody changed, and brings it back", async () => {
    const { driver, first, neighbour, meddle } = scenario();
    if (meddle === undefined) return;
    const other = await serving(scenario(), neighbour);
    const path = await meddle(await serving(scenario(), first));
    const drifted = await lookAt(scenario(), first);
    const differences = driver().drift(drifted, first);
    expect(differences.map((each) => each.path)).toContain(path);
    for (const { applied, live } of differences) expect(live).not.toEqual(applied);
    expect(JSON.parse(JSON.stringify(differences))).toEqual(differences);
    const steps = driver().revert(drifted, first);
    expect(JSON.parse(JSON.stringify(steps))).toEqual(steps);
    expect(steps.length).toBeGreaterThan(0);
    for (const _ of ["once", "again"]) await carryOut(scenario(), steps, [first]);
    const reverted = await lookAt(scenario(), first);
    expect(driver().drift(reverted, first)).toEqual([]);
    expect(driver().revert(reverted, first)).toEqual([]);
    expect(await lookAt(scenario(), neighbour)).toEqual(other);
  });
}
