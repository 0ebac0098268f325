/** What a job does on a real host: tries, ends, what it gives out, and that it never runs twice by accident. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JsonObject, Live, Step, Wanted } from "../driver.ts";
import { findCopies } from "../host-process/copies.ts";
import { readProcess } from "../host-process/proc.ts";
import { createWorld, eventually, INSTANCE, type World } from "./job.test-world.ts";
import { jobDir, readJob, runHandle, writeJob } from "./ledger.ts";
import { factsIn } from "./live.ts";

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.end());

const QUICK: JsonObject = { argv: ["quick", "up"] };
const IRREVERSIBLE: JsonObject = { irreversible: true };
const UNDONE: JsonObject = { undo: { argv: ["quick", "down"] } };

function fresh(wanted: Wanted): readonly Step[] {
  return world.driver().steps([], undefined, wanted, Date.now());
}

async function run(wanted: Wanted) {
  const [outcome] = await world.carryOut(fresh(wanted), wanted);
  return outcome;
}

function running(): Promise<Live> {
  return eventually("it runs", async () => {
    return (await world.observe()).find(({ phase }) => phase === "running");
  });
}

/** The supervisor and the program, killed as one, as a host does that loses its power. */
async function killAll(): Promise<void> {
  for (const copy of await findCopies(world.host, world.context)) {
    if (copy.process !== undefined) process.kill(-copy.process.pid, "SIGKILL");
  }
  await eventually("nothing runs", async () => {
    const copies = await findCopies(world.host, world.context);
    return copies.every(({ members }) => members.length === 0) || undefined;
  });
}

describe("a job", () => {
  it("runs once to its end, and is then as it should be", async () => {
    const wanted = world.wanted(["ok"]);
    expect(await run(wanted)).toMatchObject({ message: "ended with status 0: did ok" });
    const [live] = await world.observe();
    expect(live).toMatchObject({ phase: "idle", message: "ended with status 0: did ok" });
    if (live === undefined) throw new Error("no job");
    expect(await world.driver().health(live, wanted, world.context)).toMatchObject({
      state: "ready",
    });
    expect(await world.driver().logs(live, 5, world.context)).toEqual(["did ok"]);
    expect(world.ran()).toEqual(["ok"]);
  });

  it("is tried again after its back-off, as often as it says, and no more", async () => {
    const flaky = world.wanted(["flaky"], { with: { retries: 2 } });
    expect(await run(flaky)).toMatchObject({ message: "ended with status 0: did flaky" });
    expect(world.ran()).toEqual(["flaky", "flaky", "flaky"]);
    const other = `sha256:${"2".repeat(64)}`;
    const failing = world.wanted(["fail"], { with: { retries: 1 }, digest: other });
    await expect(run(failing)).rejects.toMatchObject({
      reason: "JOB_FAILED",
      message: "migrate: failed 2 times; the last one ended with status 3: did fail | cannot",
    });
    expect(world.ran().filter((word) => word === "fail")).toHaveLength(2);
  });

  it("is ended at its deadline with all its children, also where it bears the signal", async () => {
    const more = { deadlineMs: 700, stop: { graceMs: 200 } };
    await expect(run(world.wanted(["stubborn"], { with: more }))).rejects.toMatchObject({
      reason: "JOB_FAILED",
      message: expect.stringContaining("was ended at its deadline"),
    });
    const other = `sha256:${"2".repeat(64)}`;
    await expect(run(world.wanted(["child"], { with: more, digest: other }))).rejects.toThrow();
    const child = Number(readFileSync(world.dataFile("child.pid"), "utf8"));
    expect(readProcess("/proc", child)?.ended ?? true).toBe(true);
  });

  it("gives out what it declares, and fails where it does not", async () => {
    const declares = (text: string) => ({
      outputs: { version: "integer", note: "string" },
      env: { OUTPUTS: text },
    });
    const good = '{"version": 7, "note": "x"}';
    const wanted = world.wanted(["outputs"], { with: declares(good) });
    expect(await run(wanted)).toMatchObject({ outputs: { version: 7, note: "x" } });
    expect((await world.observe())[0]?.outputs).toEqual({ version: 7, note: "x" });
    const bad = ["[]", '{"version": "7", "note": "x"}', "endless", "{"];
    for (const [n, text] of bad.entries()) {
      const digest = `sha256:${String(n + 2).repeat(64)}`;
      const promise = run(world.wanted(["outputs"], { with: declares(text), digest }));
      await expect(promise, text.slice(0, 40)).rejects.toMatchObject({ reason: "JOB_FAILED" });
    }
  });

  it("shows no secret in its lines, and lets none be an output", async () => {
    const secrets = new Map([["dsn", "postgres://hunter2"]]);
    const secretFiles = { dsn: "${secrets.dsn}" };
    const wanted = world.wanted(["leaky"], { secrets, with: { secretFiles } });
    expect((await run(wanted))?.message).toContain("the dsn is [redacted]");
    const told = { env: { OUTPUTS: '{"dsn": "postgres://hunter2"}' }, outputs: { dsn: "string" } };
    const other = `sha256:${"2".repeat(64)}`;
    const telling = world.wanted(["outputs"], {
      secrets,
      digest: other,
      with: { secretFiles, ...told },
    });
    await expect(run(telling)).rejects.toThrow("its output dsn holds one of its secrets");
    const job = readJob(jobDir(world.context, INSTANCE, (await world.observe())[0]?.handle ?? ""));
    expect(JSON.stringify(job)).not.toContain("hunter2");
  });

  it("leaves its secrets on the host for minutes after its end, and stays done", async () => {
    let offsetMs = 0;
    const later = createWorld({ ...systemClock, now: () => systemClock.now() + offsetMs });
    try {
      const secrets = new Map([["dsn", "postgres://hunter2"]]);
      const more = { secretFiles: { dsn: "${secrets.dsn}" } };
      const wanted = later.wanted(["leaky"], { secrets, with: more });
      await later.carryOut(later.driver().steps([], undefined, wanted, Date.now()), wanted);
      const folder = (live: Live) => jobDir(later.context, INSTANCE, runHandle(live.handle, 0));
      const [live] = await later.observe();
      if (live === undefined) throw new Error("no job");
      await later.driver().readings(later.context);
      expect(existsSync(join(folder(live), "secrets/dsn"))).toBe(true);
      offsetMs = 601_000;
      await later.driver().readings(later.context);
      expect(existsSync(folder(live))).toBe(false);
      expect(await later.observe()).toEqual([live]);
      expect(later.driver().steps([live], wanted, wanted, Date.now())).toEqual([]);
      const said = await later.driver().logs(live, 5, later.context);
      expect(said.join()).toContain("the dsn is [redacted]");
    } finally {
      await later.end();
    }
  });

  it("has its arguments literally, whatever characters they hold, though a shell waits for it", async () => {
    const words = ["; touch pwned", "$(id)", "`id`", "a\nb", "*", "'\"\\", "--", "-c"];
    await run(world.wanted(["ok", ...words]));
    expect(readFileSync(world.dataFile("ran"), "utf8")).toContain(`ok ${words.join(" ")}`);
  });

  it("does not inherit what its supervisor has open, and reads nothing", async () => {
    const wanted = world.wanted(["wait"]);
    const done = run(wanted);
    const live = await running();
    const [copy] = await findCopies(world.host, world.context);
    const program = copy?.members.find(({ pid }) => pid !== copy.process?.pid);
    expect(program).toBeDefined();
    const notes = join(jobDir(world.context, INSTANCE, runHandle(live.handle, 0)), "notes");
    const folder = `/proc/${program?.pid}/fd`;
    const held = readdirSync(folder).map((fd) => readlinkSync(join(folder, fd)));
    expect(held).toContain("/dev/null");
    expect(held).not.toContain(notes);
    writeFileSync(world.dataFile("go"), "");
    await done;
  });
});

describe("a job that a hub has not checked", () => {
  it.each<[string, JsonObject]>([
    ["CPU -1", { limits: { cpuMillis: -1 } }],
    ["a limit below the request", { limits: { memoryMib: 8 }, requests: { memoryMib: 9 } }],
    ["a loader's variable", { env: { LD_PRELOAD: "x" } }],
    ["a name with a line break", { env: { "A\nB": "x" } }],
    ["a command as text", { argv: "quick; id" }],
    ["a program elsewhere", { argv: ["/bin/sh", "-c", "id"] }],
    ["an undo elsewhere", { undo: { argv: ["../quick"] } }],
    ["a time that never comes", { when: { schedule: { cron: "0 0 30 2 *" } } }],
    ["no word on its undo", { effect: null }],
    ["a limit that was not rendered", { limits: { pids: "${params.pids}" } }],
  ])("is refused before anything runs: %s", async (_, more) => {
    const wanted = world.wanted([], { with: { ...QUICK, ...more } });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "SPEC_INVALID",
    });
    expect(world.ran()).toEqual([]);
  });

  it("is refused if its undo is not in the artefact, although it is not needed yet", async () => {
    const wanted = world.wanted([], { with: { ...QUICK, undo: { argv: ["absent"] } } });
    await expect(world.driver().prepare(wanted, world.context)).rejects.toMatchObject({
      reason: "PROGRAM_PATH",
    });
  });
});

describe("a job whose agent was killed", () => {
  /** As another life of the agent: the step is run again, and nothing is known of the first. */
  async function leave(wanted: Wanted): Promise<readonly Step[]> {
    const steps = fresh(wanted);
    const stop = new AbortController();
    const [step] = steps;
    if (step === undefined) throw new Error("no step");
    const cut = world.driver().run(step, { ...world.known(wanted), signal: stop.signal });
    await eventually("its program runs", () => world.ran()[0]);
    stop.abort();
    await expect(cut).rejects.toMatchObject({ reason: "AGENT_STOPPING" });
    return steps;
  }

  it("goes on, and its end is known", async () => {
    const wanted = world.wanted(["wait"]);
    const steps = await leave(wanted);
    const again = world.carryOut(steps, wanted);
    writeFileSync(world.dataFile("go"), "");
    expect(await again).toMatchObject([{ message: "ended with status 0: did wait" }]);
    expect(world.ran()).toEqual(["wait"]);
  });

  it("has its end known although it came while no agent was there", async () => {
    const wanted = world.wanted(["wait"], { with: IRREVERSIBLE });
    const steps = await leave(wanted);
    writeFileSync(world.dataFile("go"), "");
    await eventually("it has ended", async () => {
      const copies = await findCopies(world.host, world.context);
      return copies.every(({ running: runs }) => !runs) || undefined;
    });
    expect(await world.carryOut(steps, wanted)).toMatchObject([
      { message: "ended with status 0: did wait" },
    ]);
    expect(world.ran()).toEqual(["wait"]);
  });

  it("is run again if it was cut off and may be", async () => {
    const wanted = world.wanted(["wait"], { with: UNDONE });
    const steps = await leave(wanted);
    await killAll();
    writeFileSync(world.dataFile("go"), "");
    await world.carryOut(steps, wanted);
    expect(world.ran()).toEqual(["wait", "wait"]);
  });

  it("is not run again if it was cut off and cannot be taken back", async () => {
    const wanted = world.wanted(["wait"], { with: { ...IRREVERSIBLE, retries: 3 } });
    const steps = await leave(wanted);
    await killAll();
    for (const turn of [1, 2]) {
      await expect(world.carryOut(steps, wanted), String(turn)).rejects.toMatchObject({
        reason: "JOB_END_UNKNOWN",
        message: expect.stringContaining("it cannot be undone, so it is not run again"),
      });
    }
    expect(world.ran()).toEqual(["wait"]);
    // Asked for anew it is a new plan.
    writeFileSync(world.dataFile("go"), "");
    const live = await world.observe();
    const asked = world.driver().steps(live, undefined, wanted, Date.now());
    await world.carryOut(asked, wanted);
    expect(world.ran()).toEqual(["wait", "wait"]);
    expect(await world.observe()).toHaveLength(1);
  });

  it("has not run if its supervisor never got the word", async () => {
    const wanted = world.wanted([], { with: { ...QUICK, ...IRREVERSIBLE } });
    const steps = await leave(world.wanted(["wait"], { digest: wanted.digest }));
    const [live] = await world.observe();
    const dir = jobDir(world.context, INSTANCE, live?.handle ?? "");
    const job = readJob(dir);
    if (job?.run === undefined) throw new Error("no run");
    await killAll();
    // As it is between the spawn and the word: no note of a begin.
    writeFileSync(join(jobDir(world.context, INSTANCE, runHandle(job.handle, 0)), "notes"), "");
    writeJob(dir, { ...job, hasBegun: false });
    await world.carryOut(steps, wanted);
    expect(world.ran()).toEqual(["wait", "up"]);
  });
});

describe("the undo of a job", () => {
  const undo = async (wanted: Wanted, steps = fresh(wanted)) => {
    for (const { undo: order } of steps.toReversed()) {
      if (order !== undefined) await world.driver().run(order, world.known(wanted));
    }
  };

  it("takes back what was done, once", async () => {
    const wanted = world.wanted([], { with: { ...QUICK, ...UNDONE } });
    const steps = fresh(wanted);
    await world.carryOut(steps, wanted);
    await undo(wanted, steps);
    await undo(wanted, steps);
    expect(world.ran()).toEqual(["up", "down"]);
    expect(await world.observe()).toEqual([]);
  });

  it("follows a failure, and does nothing where nothing has begun", async () => {
    const wanted = world.wanted(["fail"], { with: UNDONE });
    const steps = fresh(wanted);
    await undo(wanted, steps);
    expect(world.ran()).toEqual([]);
    await expect(world.carryOut(steps, wanted)).rejects.toThrow("ended with status 3");
    await undo(wanted, steps);
    expect(world.ran()).toEqual(["fail", "down"]);
  });

  it("ends what still runs before it begins", async () => {
    const wanted = world.wanted(["hang"], { with: UNDONE });
    const steps = fresh(wanted);
    const stop = new AbortController();
    const [step] = steps;
    if (step === undefined) throw new Error("no step");
    const cut = world.driver().run(step, { ...world.known(wanted), signal: stop.signal });
    await eventually("its program runs", () => world.ran()[0]);
    stop.abort();
    await expect(cut).rejects.toThrow();
    await undo(wanted, steps);
    expect(world.ran()).toEqual(["hang", "down"]);
    expect(await findCopies(world.host, world.context)).toEqual([]);
  });

  it("that fails is told, and may be tried again", async () => {
    const more = { ...QUICK, undo: { argv: ["node", "job.mjs", "fail"] } };
    const wanted = world.wanted([], { with: more });
    const steps = fresh(wanted);
    await world.carryOut(steps, wanted);
    await expect(undo(wanted, steps)).rejects.toMatchObject({ reason: "JOB_UNDO_FAILED" });
    await expect(undo(wanted, steps)).rejects.toMatchObject({ reason: "JOB_UNDO_FAILED" });
    expect(world.ran()).toEqual(["up", "fail", "fail"]);
    expect((await world.observe()).map(({ phase }) => phase)).toEqual(["stopping"]);
  });
});

describe("a job with a calendar", () => {
  const everyMinute = { when: { schedule: { cron: "* * * * *" } } };
  const at = Date.parse("2026-03-01T12:00:30Z");

  it("waits for its time, runs in it, and goes on", async () => {
    const wanted = world.wanted([], { with: { ...QUICK, ...everyMinute } });
    await world.carryOut(fresh(wanted), wanted);
    expect(world.ran()).toEqual([]);
    const plan = async (now: number) =>
      world.driver().steps(await world.observe(), wanted, wanted, now);
    const [waiting] = await plan(Date.now());
    expect(waiting).toMatchObject({ verb: "start", when: "while-serving" });
    const due = waiting?.notBefore ?? 0;
    const [start] = await plan(due);
    if (start === undefined) throw new Error("no start");
    expect(start.notBefore).toBeUndefined();
    await world.driver().run(start, world.known(wanted));
    const settle = await eventually("it is over", async () => {
      return (await plan(due + 1_000)).find(({ verb }) => verb === "settle");
    });
    await world.driver().run(settle, world.known(wanted));
    await world.driver().run(start, world.known(wanted));
    expect(world.ran()).toEqual(["up"]);
    const [next, ...more] = await plan(due + 1_000);
    expect(more).toEqual([]);
    expect(next).toMatchObject({ verb: "start", notBefore: due + 60_000 });
    expect(world.changed).toEqual([INSTANCE]);
  });

  it("is not run by an attempt, nor twice for one time", async () => {
    const wanted = world.wanted([], { with: { ...QUICK, ...everyMinute } });
    const steps = fresh(wanted);
    expect(steps.map(({ verb, when }) => `${verb} ${when}`)).toEqual(["arm before-commit"]);
    await world.carryOut(steps, wanted);
    const [live] = await world.observe();
    if (live === undefined) throw new Error("no job");
    const ran = { number: 0, try: 1, phase: "done", beganAt: at, endedAt: at + 9, dueAt: at };
    const after = { ...live, startedAt: at, facts: { ...live.facts, runs: 1, run: ran } };
    const plan = world.driver().steps([after], wanted, wanted, at + 10);
    const starts = plan.filter(({ verb }) => verb === "start");
    expect(starts.map(({ notBefore }) => notBefore)).toEqual([Date.parse("2026-03-01T12:01:00Z")]);
    expect(factsIn(after).run?.dueAt).toBe(at);
  });
});
