/** The driver contract, kept by real jobs in containers of a real engine. */
import { afterAll, beforeAll, describe, it } from "vitest";
import { INSTANCE } from "../container/container.test-world.ts";
import { type DockerWorld, startDocker, whyNoDocker } from "../container/docker.test-world.ts";
import { writeImage } from "../container/images.test-world.ts";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { StepOrder } from "../driver.ts";
import { removeCopy } from "../engine/end.ts";
import { createJobWorld, words } from "./container-job.test-world.ts";
import { asContainers } from "./in-container.ts";
import { type Job, jobDir, type Run, readJob, writeJob } from "./ledger.ts";
import { renderedSpecOf } from "./spec.ts";

const NOT_LAUNCHED = "the container is made, that it is to start is not written down";
const NOT_STARTED = "the container is made and never started";
const NOT_SETTLED = "the run has ended, and that is not written down";
const WITHOUT_CONTAINER = "the run has ended, and somebody has removed its container";
const CRASHES = [NOT_LAUNCHED, NOT_STARTED, NOT_SETTLED, WITHOUT_CONTAINER];

const why = whyNoDocker();
const shared: { engine?: DockerWorld; image: string } = { image: "" };

beforeAll(async () => {
  if (why !== undefined) return;
  shared.engine = await startDocker();
  shared.image = `${shared.engine.dir}/image.tar`;
  await writeImage(shared.image);
  await shared.engine.preload(shared.image);
});
afterAll(() => shared.engine?.end());

if (why === undefined) describeDriverContract("job in a container", CRASHES, scenarioOf);
else describe("driver contract: job in a container", () => void it(why, () => console.log(why)));

function scenarioOf(): DriverScenario {
  if (shared.engine === undefined) throw new Error("no engine");
  const world = createJobWorld(shared.engine, shared.image);
  const undo = { undo: { argv: words("down") } };
  const first = world.wanted(["ok"], { with: undo });
  const second = world.wanted(["ok"], {
    with: undo,
    digest: `sha256:${"2".repeat(64)}`,
    generation: { incarnation: 1n, number: 2n },
    releaseVersion: "1.1.0",
  });
  const key = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "migrate" };
  const dirOf = ({ input }: StepOrder) => jobDir(world.context, INSTANCE, String(input["handle"]));
  /** As it is written down once its program has run, but for what a crash has lost of that. */
  const done = async (order: StepOrder): Promise<Readonly<{ job: Job; run: Run }>> => {
    await world.driver().run(order, world.known(first));
    const job = readJob(dirOf(order));
    if (job?.run === undefined) throw new Error("a job that has run is not written down");
    const { end, ...run } = job.run;
    return { job: { ...job, hasBegun: false }, run };
  };
  const leave: Record<string, (order: StepOrder) => Promise<void>> = {
    [NOT_LAUNCHED]: (order) => made(order, false),
    [NOT_STARTED]: (order) => made(order, true),
    [NOT_SETTLED]: async (order) => {
      const { job, run } = await done(order);
      writeJob(dirOf(order), { ...job, run });
    },
    [WITHOUT_CONTAINER]: async (order) => {
      const { job, run } = await done(order);
      for (const copy of await world.copies()) await removeCopy(world.host, copy, world.context);
      writeJob(dirOf(order), { ...job, run });
    },
  };
  /** The first half of a start: the agent dies right before it asks for the second. */
  const made = async (order: StepOrder, isLaunched: boolean): Promise<void> => {
    const spec = renderedSpecOf(first.spec);
    await world.driver().run({ ...order, verb: "arm" }, world.known(first));
    const job = readJob(dirOf(order));
    if (job === undefined) throw new Error("no job");
    const run = { number: 0, try: 1, beganAt: world.context.clock.now(), isLaunched: false };
    const begun: Job = { ...job, runs: 1, run };
    const dies = () => {
      if (isLaunched) writeJob(dirOf(order), { ...begun, run: { ...run, isLaunched } });
      throw new Error("the agent dies");
    };
    writeJob(dirOf(order), begun);
    const begin = { wanted: first, spec, part: "run" as const, run };
    await asContainers(world.host)
      .begin(begun, begin, dies, world.context)
      .catch(() => undefined);
    const [copy] = await world.copies();
    if (copy?.state !== "created") throw new Error(`the container is ${copy?.state}`);
  };
  return {
    ...{ first, second },
    neighbour: { ...first, key },
    driver: world.driver,
    context: world.context,
    end: world.end,
    crashes: CRASHES.map((name) => ({ name, leave: (order) => leave[name]?.(order) ?? fail() })),
  };
}

function fail(): never {
  throw new Error("no such crash");
}
