/** Jobs within attempts, between them, and because somebody asked: a real engine over real programs. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ActionKind,
  type ActionResult,
  ActionSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CrashResource } from "../../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "../../reconcile/crash-world.test-world.ts";
import * as attempts from "../../store/attempts.ts";
import type { JsonObject } from "../driver.ts";
import { createWorld, eventually, type World } from "./job.test-world.ts";

let offsetMs: number;
let world: World;
let life: Life | undefined;
beforeEach(() => {
  offsetMs = 0;
  world = createWorld({ ...systemClock, now: () => systemClock.now() + offsetMs }, CRASH_INSTANCE);
});
afterEach(async () => {
  await life?.end();
  life = undefined;
  await world.end();
});

/** A job that notes its words; `waits` until data/go is there. */
function job(id: string, more: JsonObject = {}): CrashResource {
  const effect = "undo" in more || "irreversible" in more ? {} : { effect: "none" };
  const spec = { artefact: "tools", argv: ["quick", id], ...effect, ...more };
  return { id, spec: { deadlineMs: 30_000, stop: { graceMs: 2_000 }, ...spec } };
}

const WAITS: JsonObject = { argv: ["node", "job.mjs", "wait"] };
const FAILS: JsonObject = { argv: ["node", "job.mjs", "fail"] };

/** An engine to which each of these can be wished for. */
function begin(a: readonly CrashResource[], b: readonly CrashResource[] = a): Life {
  life = beginLife("job", {
    driver: world.driver,
    context: world.context,
    artefacts: { tools: join(world.stateDir, "artefact") },
    resources: { a, b, sick: [] },
    end: world.end,
  });
  return life;
}

async function ended({ store }: Life, number: bigint) {
  return await eventually(`the attempt at ${number} has ended`, () => {
    const record = attempts.find(store, CRASH_INSTANCE);
    return record?.phase === "ENDED" && record.generation.number === number ? record : undefined;
  });
}

const ran = (words: readonly string[]) =>
  eventually(`ran ${words.join(", ")}`, () => {
    return world.ran().join() === words.join() || undefined;
  });

async function asked({ engine }: Life, resource: string, kind = ActionKind.RUN_JOB) {
  const notAfter = timestampFromMs(Date.now() + 60_000);
  const id = `act-${Math.round(performance.now() * 1_000)}`;
  const action = create(ActionSchema, { id, instanceId: CRASH_INSTANCE, kind, resource, notAfter });
  const { state, reason, message } = await new Promise<ActionResult>((resolve) => {
    if (engine.orders.take(action, resolve)) engine.wake(CRASH_INSTANCE);
  });
  return `${ActionState[state]} ${reason}: ${message}`;
}

describe("an attempt with a job", () => {
  it("that is superseded in its middle is cut off, undone, and followed by the newer one", async () => {
    const undo = { argv: ["quick", "down"] };
    const its = begin([job("m", { ...WAITS, undo })], [job("m", { argv: ["quick", "up"], undo })]);
    its.wish(1n, "a");
    await ran(["wait"]);
    its.wish(2n, "b");
    expect(await ended(its, 2n)).toMatchObject({ state: "COMMITTED" });
    expect(world.ran()).toEqual(["wait", "down", "up"]);
  });

  it("that has no way back is not cut off by a newer one", async () => {
    const its = begin([job("m", { ...WAITS, irreversible: true })], [job("n")]);
    its.wish(1n, "a");
    await ran(["wait"]);
    its.wish(2n, "b");
    writeFileSync(world.dataFile("go"), "");
    expect(await ended(its, 2n)).toMatchObject({ state: "COMMITTED" });
    expect(world.ran()).toEqual(["wait", "n"]);
  });

  it("that has no way back and fails is PARTIAL, says so, and is not run again by itself", async () => {
    const fails = job("last", { ...FAILS, irreversible: true });
    const its = begin([job("first"), fails]);
    its.wish(1n, "a");
    const record = await ended(its, 1n);
    expect(record.state).toBe("PARTIAL");
    expect(record.message).toContain("ended with status 3");
    expect(record.message).toContain("after last/run there is no way back");
    expect(record.resources?.map(({ id, at }) => `${id} ${at}`)).toEqual([
      "first WANTED",
      "last BETWEEN",
    ]);
    its.engine.wake(CRASH_INSTANCE);
    await systemClock.sleep(0);
    expect(world.ran()).toEqual(["first", "fail"]);
  });

  it("that could not begin is no point without return", async () => {
    const spec = { irreversible: true, user: "nobody-here" };
    const its = begin([job("m", spec)]);
    its.wish(1n, "a");
    expect(await ended(its, 1n)).toMatchObject({ state: "RETURNED" });
    expect(world.ran()).toEqual([]);
  });

  it("runs hooks once for each generation, first and last, and a job only when it changes", async () => {
    const same = [
      job("backup", { when: { hook: "before" } }),
      { ...job("migrate"), dependsOn: ["backup"] },
      { ...job("report", { when: { hook: "after" } }), dependsOn: ["backup"] },
    ];
    const its = begin(same);
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(world.ran()).toEqual(["backup", "migrate", "report"]);
    its.wish(2n, "b");
    expect(await ended(its, 2n)).toMatchObject({ state: "COMMITTED" });
    expect(world.ran()).toEqual(["backup", "migrate", "report", "backup", "report"]);
    expect(await world.observe()).toHaveLength(3);
  });

  it("is committed although a hook after it fails, and says that it did", async () => {
    const its = begin([job("report", { ...FAILS, when: { hook: "after" } })]);
    its.wish(1n, "a");
    expect(await ended(its, 1n)).toMatchObject({ state: "COMMITTED" });
    const { status } = await eventually("it is told", () => {
      const told = its.engine.statuses()[0];
      const ready = told?.status.conditions.find(({ type }) => type === "Ready");
      return ready?.message.includes("its last run ended with status 3") ? told : undefined;
    });
    expect(status.conditions.find(({ type }) => type === "Ready")?.reason).toBe("READY");
    expect(world.ran()).toEqual(["fail"]);
  });
});

describe("a schedule", () => {
  const nightly = (more: JsonObject = {}) =>
    job("backup", { when: { schedule: { cron: "30 2 * * *" } }, ...more });

  it("runs in its time, and once for all times that passed while the agent was away", async () => {
    let its = begin([nightly()]);
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(world.ran()).toEqual([]);
    offsetMs += 86_400_000;
    await ran(["backup"]);
    await its.end();
    offsetMs += 20 * 86_400_000;
    its = begin([nightly()]);
    await ran(["backup", "backup"]);
    const [live] = await eventually("it is written down", async () => {
      const found = await world.observe();
      return found[0]?.facts?.["isSettled"] === true ? found : undefined;
    });
    expect(live).toMatchObject({ phase: "idle" });
    const status = its.engine.statuses()[0]?.status;
    expect(status?.conditions.find(({ type }) => type === "Drifted")?.reason).toBe("AS_COMMITTED");
    expect(world.ran()).toEqual(["backup", "backup"]);
  });

  it("tries again what fails, ends what takes too long, and the instance stays ready", async () => {
    const more = { ...FAILS, retries: 1, backoff: { baseMs: 10 } };
    const its = begin([nightly(more)], [nightly({ ...WAITS, deadlineMs: 300 })]);
    its.wish(1n, "a");
    await ended(its, 1n);
    offsetMs += 86_400_000;
    await ran(["fail", "fail"]);
    its.wish(2n, "b");
    await ended(its, 2n);
    offsetMs += 86_400_000;
    await eventually("it was ended", () => {
      const ready = its.engine
        .statuses()[0]
        ?.status.conditions.find(({ type }) => type === "Ready");
      return ready?.message.includes("was ended at its deadline") || undefined;
    });
    expect(world.ran()).toEqual(["fail", "fail", "wait"]);
  });
});

describe("an order to run a job", () => {
  it("runs it once more and tells how it ended", async () => {
    const its = begin([job("m"), job("f", { ...FAILS, when: { hook: "after" } })]);
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(await asked(its, "m")).toBe("DONE JOB_RUN: m: ended with status 0: did m");
    expect(await asked(its, "f")).toMatch(/^FAILED JOB_FAILED: .*ended with status 3: did fail/);
    expect(world.ran()).toEqual(["m", "fail", "m", "fail"]);
    expect((await world.observe()).map(({ key }) => key.resourceId).sort()).toEqual(["f", "m"]);
    expect(attempts.find(its.store, CRASH_INSTANCE)?.state).toBe("COMMITTED");
  });

  it("does not undo what a release has done, however it ends", async () => {
    const undo = { argv: ["quick", "down"] };
    const flag = world.dataFile("second");
    writeFileSync(
      join(world.stateDir, "artefact/once"),
      `#!/bin/sh\necho "once $$" >>"$HOLDFAST_DATA_DIR/ran"\n[ ! -e "${flag}" ] && : >"${flag}"\n`,
      { mode: 0o755 },
    );
    const its = begin([job("m", { argv: ["once"], undo })]);
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(existsSync(flag)).toBe(true);
    expect(await asked(its, "m")).toMatch(/^FAILED JOB_FAILED/);
    expect(world.ran()).toEqual(["once", "once"]);
  });

  it("is refused for what is no job, and no restart runs one", async () => {
    const its = begin([job("m")]);
    its.wish(1n, "a");
    await ended(its, 1n);
    expect(await asked(its, "x")).toBe("REFUSED RESOURCE_UNKNOWN: got x; it consists of m");
    const restart = ActionKind.RESTART;
    expect(await asked(its, "m", restart)).toMatch(/^REFUSED JOB_NOT_RESTARTED/);
    expect(await asked(its, "", restart)).toMatch(/^REFUSED NOTHING_RUNS/);
    expect(world.ran()).toEqual(["m"]);
  });
});
