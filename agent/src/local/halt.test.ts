/**
 * `holdfast-agent halt` over real jobs: what is ended, what is left to its end, and that the next life of the agent goes on
 * from it without taking it for a failure.
 */
import { rmSync, writeFileSync } from "node:fs";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { JsonObject } from "../drivers/driver.ts";
import { createWorld, eventually, type World } from "../drivers/job/job.test-world.ts";
import type { CrashResource } from "../reconcile/crash-points.test-suite.ts";
import { beginLife, CRASH_INSTANCE, type Life } from "../reconcile/crash-world.test-world.ts";
import * as attempts from "../store/attempts.ts";
import { haltWorkloads } from "./halt.ts";

let offsetMs: number;
let world: World;
let life: Life;
beforeEach(() => {
  offsetMs = 0;
  world = createWorld({ ...systemClock, now: () => systemClock.now() + offsetMs }, CRASH_INSTANCE);
});
afterEach(async () => {
  await life.end();
  await world.end();
});

function begin(...resources: readonly CrashResource[]): void {
  life = beginLife("job", {
    driver: world.driver,
    context: world.context,
    artefacts: { tools: `${world.stateDir}/artefact` },
    resources: { a: resources, b: [], sick: [] },
    end: world.end,
  });
}

/** Runs until data/go is there. */
function job(id: string, more: JsonObject): CrashResource {
  const spec = { artefact: "tools", argv: ["node", "job.mjs", "wait", id], ...more };
  return { id, spec: { deadlineMs: 30_000, stop: { graceMs: 2_000 }, ...spec } };
}

const UNDONE = { undo: { argv: ["quick", "down"] } };
const IRREVERSIBLE = { irreversible: true };

/** The agent ends while these run, and the host is halted. */
async function halted(all: boolean, ...words: readonly string[]): Promise<string> {
  await ran(...words);
  await life.end();
  const host = { pid: process.pid, uid: process.getuid?.() ?? 0, startTimeOf: () => "1" };
  return await haltWorkloads(world.stateDir, host, [world.driver()], world.context, { all });
}

const ran = (...words: readonly string[]) =>
  eventually(`ran ${words.join(", ")}`, () => {
    return world.ran().toSorted().join() === words.toSorted().join() || undefined;
  });

async function ended() {
  return await eventually("the attempt has ended", () => {
    const record = attempts.find(life.store, CRASH_INSTANCE);
    return record?.phase === "ENDED" ? record : undefined;
  });
}

const isRunning = async () => (await world.observe()).some(({ phase }) => phase === "running");

it("ends a job that can be taken back, which goes on as cut off and not as failed", async () => {
  const its = [job("m", UNDONE), job("n", { effect: "none" })];
  begin(...its);
  life.wish(1n, "a");
  expect(await halted(false, "wait m", "wait n")).toBe("2 workloads ended; data is kept\n");
  expect(await isRunning()).toBe(false);
  writeFileSync(world.dataFile("go"), "");
  begin(...its);
  // Neither has a try left: a failure would have undone what the first one did.
  expect(await ended()).toMatchObject({ state: "COMMITTED" });
  expect(world.ran().toSorted()).toEqual(["wait m", "wait m", "wait n", "wait n"]);
});

it("leaves what nothing takes back to its end, and says so", async () => {
  const its = [job("m", IRREVERSIBLE)];
  begin(...its);
  life.wish(1n, "a");
  const said = await halted(false, "wait m");
  expect(said).toContain(`0 workloads ended; data is kept\nm of ${CRASH_INSTANCE} goes on`);
  expect(await isRunning()).toBe(true);
  writeFileSync(world.dataFile("go"), "");
  begin(...its);
  expect(await ended()).toMatchObject({ state: "COMMITTED" });
  expect(world.ran()).toEqual(["wait m"]);
});

it("ends that too where it is told to, and it is not run again by itself", async () => {
  const its = [job("m", IRREVERSIBLE)];
  begin(...its);
  life.wish(1n, "a");
  expect(await halted(true, "wait m")).toBe("1 workloads ended; data is kept\n");
  expect(await isRunning()).toBe(false);
  begin(...its);
  const record = await ended();
  expect(record).toMatchObject({ state: "PARTIAL", reason: "JOB_END_UNKNOWN" });
  expect(record.message).toContain("was ended by a halt while it ran");
  expect(world.ran()).toEqual(["wait m"]);
});

it("lets no schedule fire, and keeps when it is due and what was done", async () => {
  const its = [
    job("done", { ...UNDONE, argv: ["quick", "done"] }),
    job("nightly", { effect: "none", when: { schedule: { cron: "30 2 * * *" } } }),
  ];
  begin(...its);
  life.wish(1n, "a");
  await ended();
  offsetMs += 86_400_000;
  expect(await halted(false, "done", "wait nightly")).toBe("1 workloads ended; data is kept\n");
  offsetMs += 7 * 86_400_000;
  expect(await isRunning()).toBe(false);
  writeFileSync(world.dataFile("go"), "");
  begin(...its);
  // Once for all the times that passed, and the job that was done is not done again.
  await ran("done", "wait nightly", "wait nightly");
  await eventually("it is written down", async () => {
    const live = (await world.observe()).find(({ key }) => key.resourceId === "nightly");
    return live?.facts?.["isSettled"] === true || undefined;
  });
  expect(world.ran().toSorted()).toEqual(["done", "wait nightly", "wait nightly"]);
});

it("ends what it finds though nobody wrote down what it is, only where it is told to", async () => {
  begin(job("m", UNDONE));
  life.wish(1n, "a");
  await ran("wait m");
  const [live] = await world.observe();
  const { run } = world.context.directories(CRASH_INSTANCE);
  rmSync(`${run}/${live?.handle}/job.json`);
  expect(await halted(false, "wait m")).toContain("0 workloads ended");
  expect(await halted(true, "wait m")).toContain("1 workloads ended");
  expect(await isRunning()).toBe(false);
});
