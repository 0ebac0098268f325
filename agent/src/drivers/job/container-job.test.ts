/** What a job does in a container of a real engine, also when agent, engine or container go away in its middle. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import { writeFileSync } from "node:fs";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { haltWorkloads } from "../../local/halt.ts";
import { eventually, INSTANCE } from "../container/container.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "../container/docker.test-world.ts";
import { writeImage } from "../container/images.test-world.ts";
import type { JsonObject, Step, Wanted } from "../driver.ts";
import { createJobWorld, type World, words } from "./container-job.test-world.ts";
import { jobDir, readJob } from "./ledger.ts";

const why = whyNoDocker();
const UNDONE = { undo: { argv: words("down") } };
const IRREVERSIBLE: JsonObject = { irreversible: true };
const SECRETS = { secrets: new Map([["dsn", "postgres://hunter2"]]) };
const SECRET_FILES = { secretFiles: { dsn: "${secrets.dsn}" } };

let engine: DockerWorld;
let world: World;
let offsetMs = 0;

const image = () => `${engine.dir}/image.tar`;

function fresh(wanted: Wanted): readonly Step[] {
  return world.driver().steps([], undefined, wanted, Date.now());
}

async function run(wanted: Wanted) {
  const [outcome] = await world.carryOut(fresh(wanted), wanted);
  return outcome;
}

async function undo(wanted: Wanted, steps: readonly Step[]) {
  for (const { undo: order } of steps) {
    if (order !== undefined) await world.driver().run(order, world.known(wanted));
  }
}

function firstOf(steps: readonly Step[]): Step {
  const [step] = steps;
  if (step === undefined) throw new Error("no step");
  return step;
}

/** Begun by an agent that is gone once its program runs. */
async function leftRunning(wanted: Wanted): Promise<Step> {
  const step = firstOf(fresh(wanted));
  const before = world.ran().length;
  const agent = new AbortController();
  const cut = world.driver().run(step, { ...world.known(wanted), signal: agent.signal });
  await eventually("its program runs", () => world.ran()[before]);
  agent.abort();
  await expect(cut).rejects.toMatchObject({ reason: "AGENT_STOPPING" });
  return step;
}

/** It knows the processes of the container. */
async function isTakenUp(): Promise<true | undefined> {
  const [copy] = await world.copies();
  if (copy === undefined) return undefined;
  const { signal } = world.context;
  const top = engine.dock.ask("top", signal, (docker) => docker.getContainer(copy.id).top());
  return await top.then(
    () => true,
    () => undefined,
  );
}

async function imagesHeld(): Promise<readonly string[]> {
  const { signal } = world.context;
  const images = await engine.dock.ask("images", signal, (docker) => docker.listImages());
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []);
  return names.filter((name) => name.startsWith("holdfast.local/"));
}

function tests(): void {
  beforeAll(async () => {
    engine = await startDocker();
    await writeImage(image());
  });
  afterAll(() => engine.end());
  beforeEach(() => {
    offsetMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + offsetMs };
    world = createJobWorld(engine, image(), { clock });
  });
  afterEach(() => world.end());

  it("runs once to its end, gives out what it declares, and shows no secret", async () => {
    const given = { ...SECRETS, with: { ...SECRET_FILES, outputs: { version: "integer" } } };
    const wanted = world.wanted(["outputs", '{"version": 7}'], given);
    await world.driver().prepare(wanted, world.context);
    expect(await run(wanted)).toMatchObject({
      outputs: { version: 7 },
      message: 'ended with status 0: did outputs {"version": 7}',
    });
    expect(await run(wanted)).toMatchObject({ outputs: { version: 7 } });
    expect(world.ran()).toEqual(['outputs {"version": 7}']);
    const told = { ...given, digest: `sha256:${"2".repeat(64)}` };
    const telling = world.wanted(["outputs", '{"version": 7, "dsn": "postgres://hunter2"}'], {
      ...told,
      with: { ...SECRET_FILES, outputs: { version: "integer", dsn: "string" } },
    });
    await expect(run(telling)).rejects.toThrow("its output dsn holds one of its secrets");
    const digest = `sha256:${"3".repeat(64)}`;
    const said = await run(world.wanted(["leaky"], { ...SECRETS, digest, with: SECRET_FILES }));
    expect(said?.message).toContain("the dsn is [redacted]");
  });

  it("is tried again after its back-off, and is told with the last of its ends", async () => {
    expect(await run(world.wanted(["flaky"], { with: { retries: 2 } }))).toMatchObject({
      message: "ended with status 0: did flaky",
    });
    expect(world.ran()).toEqual(["flaky", "flaky", "flaky"]);
    const failing = world.wanted(["fail"], {
      digest: `sha256:${"2".repeat(64)}`,
      with: { retries: 1 },
    });
    await expect(run(failing)).rejects.toThrow("failed 2 times; the last one ended with status 3");
  });

  it("is ended at its deadline, and for want of memory", async () => {
    const late = world.wanted(["hang"], { with: { deadlineMs: 700 } });
    await expect(run(late)).rejects.toThrow("was ended at its deadline");
    const eater = world.wanted(["eater"], {
      digest: `sha256:${"2".repeat(64)}`,
      with: { limits: { memoryMib: 16 } },
    });
    await expect(run(eater)).rejects.toThrow("for want of memory (its memory limit)");
  });

  it("goes on while agent and engine are away, and its end is known exactly", async () => {
    const wanted = world.wanted(["wait"], { with: IRREVERSIBLE });
    const step = await leftRunning(wanted);
    const again = world.driver().run(step, world.known(wanted));
    await engine.stop();
    const [away] = await world.observe();
    expect(away).toMatchObject({ phase: "running" });
    await engine.start();
    // What ends before the engine has taken it up again ends unseen, and is told so.
    await eventually("the engine has it again", isTakenUp);
    writeFileSync(world.dataFile("go"), "");
    await expect(again).rejects.toThrow("ended with status 4");
    expect(world.ran()).toEqual(["wait"]);
  });

  it("whose container somebody removes is run again if it may be, and only then", async () => {
    const remove = async () => {
      for (const { id } of await world.copies()) {
        await engine.dock.ask("remove", world.context.signal, (docker) =>
          docker.getContainer(id).remove({ force: true }),
        );
      }
    };
    const irreversible = world.wanted(["hang"], { with: IRREVERSIBLE });
    const step = await leftRunning(irreversible);
    await remove();
    await expect(world.driver().run(step, world.known(irreversible))).rejects.toMatchObject({
      reason: "JOB_END_UNKNOWN",
    });
    expect(world.ran()).toEqual(["hang"]);
    const other = world.wanted(["wait"], { digest: `sha256:${"2".repeat(64)}` });
    const cut = await leftRunning(other);
    await remove();
    const again = world.driver().run(cut, world.known(other));
    await eventually("it runs again", () => world.ran()[2]);
    writeFileSync(world.dataFile("go"), "");
    await expect(again).rejects.toThrow("ended with status 4");
  });

  it("that somebody kills is one that was cut off", async () => {
    const wanted = world.wanted(["hang"], { with: IRREVERSIBLE });
    const step = await leftRunning(wanted);
    for (const { id } of await world.copies()) {
      await engine.dock.ask("kill", world.context.signal, (docker) =>
        docker.getContainer(id).kill(),
      );
    }
    const again = world.driver().run(step, world.known(wanted));
    await expect(again).rejects.toThrow("(status 137): whether it did its work is not known");
    expect(world.ran()).toEqual(["hang"]);
  });

  it("is ended by a halt as one that is cut off; what nothing takes back only where that is asked", async () => {
    const host = { pid: process.pid, uid: process.getuid?.() ?? 0, startTimeOf: () => "1" };
    const halt = (all: boolean) =>
      haltWorkloads(world.stateDir, host, [world.driver()], world.context, { all });
    const undone = world.wanted(["wait"], { with: UNDONE });
    const step = await leftRunning(undone);
    expect(await halt(false)).toBe("1 workloads ended; data is kept\n");
    expect((await world.observe()).map(({ phase }) => phase)).not.toContain("running");
    writeFileSync(world.dataFile("go"), "");
    await expect(world.driver().run(step, world.known(undone))).rejects.toThrow(
      "failed 2 times; the last one ended with status 4",
    );
    const digest = `sha256:${"2".repeat(64)}`;
    const grave = world.wanted(["hang"], { digest, with: IRREVERSIBLE });
    const cut = await leftRunning(grave);
    expect(await halt(false)).toContain("0 workloads ended; data is kept\nmigrate of ins_");
    expect(await halt(true)).toBe("1 workloads ended; data is kept\n");
    await expect(world.driver().run(cut, world.known(grave))).rejects.toMatchObject({
      reason: "JOB_END_UNKNOWN",
      message: expect.stringContaining("was ended by a halt while it ran"),
    });
    expect(world.ran()).toEqual(["wait", "wait", "hang"]);
  });

  it("is undone by its image, and leaves neither container nor network nor image", async () => {
    const wanted = world.wanted(["hang"], { with: UNDONE });
    const step = await leftRunning(wanted);
    await undo(wanted, [step]);
    expect(world.ran()).toEqual(["hang", "down"]);
    expect(await world.observe()).toEqual([]);
    expect(await world.copies()).toEqual([]);
    expect(await imagesHeld()).toEqual([]);
    const networks = await engine.dock.ask("networks", world.context.signal, (docker) =>
      docker.listNetworks(),
    );
    expect(networks.filter(({ Name }) => Name.startsWith("holdfast-"))).toEqual([]);
  });

  it("keeps its output and its image when its container goes, minutes after its end", async () => {
    const wanted = world.wanted(["leaky"], { ...SECRETS, with: { retries: 0, ...SECRET_FILES } });
    await run(wanted);
    const [live] = await world.observe();
    if (live === undefined) throw new Error("no job");
    const lines = () => world.driver().logs(live, 5, world.context);
    expect(await lines()).toEqual(["did leaky", "the dsn is [redacted]"]);
    const [file] = await world.driver().logFiles(world.context);
    expect(file?.bytes).toBeGreaterThan(0);
    await world.driver().readings(world.context);
    expect(await world.copies()).toHaveLength(1);
    offsetMs = 601_000;
    await world.driver().readings(world.context);
    expect(await world.copies()).toEqual([]);
    expect(await imagesHeld()).toHaveLength(1);
    expect(await world.observe()).toEqual([live]);
    expect(world.driver().steps([live], wanted, wanted, Date.now())).toEqual([]);
    expect((await lines()).join()).toContain("the dsn is [redacted]");
    const job = readJob(jobDir(world.context, INSTANCE, live.handle));
    expect(JSON.stringify(job)).not.toContain("hunter2");
  });

  it("waits for its time by a calendar, runs in it, and goes on", async () => {
    const when = { schedule: { cron: "* * * * *" } };
    const wanted = world.wanted(["ok"], { with: { when } });
    await world.carryOut(fresh(wanted), wanted);
    const plan = async (now: number) =>
      world.driver().steps(await world.observe(), wanted, wanted, now);
    const due = firstOf(await plan(Date.now())).notBefore ?? 0;
    await world.driver().run(firstOf(await plan(due)), world.known(wanted));
    const settle = await eventually("it is over", async () => {
      return (await plan(due + 1_000)).find(({ verb }) => verb === "settle");
    });
    await world.driver().run(settle, world.known(wanted));
    expect(world.ran()).toEqual(["ok"]);
    expect(await plan(due + 1_000)).toMatchObject([{ verb: "start", notBefore: due + 60_000 }]);
  });

  it.each([
    ["a tag", { image: { reference: "registry.example.com/etl:1" } }, "digest required"],
    ["a wider profile", { privileged: true }, "the restricted profile"],
    ["root", { user: "0:0" }, "root is not in"],
    ["CPU -1", { limits: { cpuMillis: -1 } }, "limits.cpuMillis"],
    ["two programs", { artefact: "tools" }, "two programs"],
    ["an undo of a shell's text", { effect: undefined, undo: { argv: "down" } }, "as text"],
  ])("is refused by the agent, whatever the hub said: %s", async (_, change, rule) => {
    const { spec, ...wanted } = world.wanted(["ok"]);
    const wrong = { ...wanted, spec: { ...spec, ...change } as JsonObject };
    const problems = world.driver().check(wrong.spec, "spec");
    expect(problems.map(({ path, message }) => `${path}: ${message}`).join()).toContain(rule);
    await expect(world.driver().prepare(wrong, world.context)).rejects.toMatchObject({
      reason: "SPEC_INVALID",
    });
  });

  it("reaches no path and no registry that the customer has not named", async () => {
    const mounting = world.wanted(["ok"], {
      with: { mounts: [{ source: "/srv/in", path: "/in" }] },
    });
    const pulling = world.wanted(["ok"], {
      with: { image: { reference: `registry.example.com/etl@sha256:${"0".repeat(64)}` } },
    });
    const prepare = (wanted: Wanted) => world.driver().prepare(wanted, world.context);
    await expect(prepare(mounting)).rejects.toThrow(/MOUNT|host path|is not there/);
    await expect(prepare(pulling)).rejects.toMatchObject({ reason: "REGISTRY_NOT_ALLOWED" });
  });
}

if (why === undefined) describe("a job in a container", tests);
else describe("a job in a container", () => void it(why, () => console.log(why)));
