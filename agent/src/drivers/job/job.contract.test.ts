/** The driver contract, kept by real jobs: with nothing to undo, and with an undo. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describeDriverContract } from "../contract.test-suite.ts";
import type { DriverScenario } from "../contract.test-world.ts";
import type { JsonObject, StepOrder } from "../driver.ts";
import { createWorld, INSTANCE } from "./job.test-world.ts";
import { type Job, jobDir, readJob, runHandle, writeJob } from "./ledger.ts";

const NOT_WRITTEN = "the job is written down, no run of it";
const NOT_LAUNCHED = "the run is written down, its supervisor never got the word";
const NOT_SETTLED = "the run has ended, and that is not written down";
const WITHOUT_RUN = "the run has ended and its folder is lost";
const CRASHES = [NOT_WRITTEN, NOT_LAUNCHED, NOT_SETTLED, WITHOUT_RUN];

const UNDONE = { undo: { argv: ["quick", "down"] } };

/** A shell script, which begins in a millisecond. */
const QUICK = { argv: ["quick", "up"] };

describeDriverContract("job", CRASHES, () => scenarioOf(QUICK));
describeDriverContract("job, compensable", CRASHES, () => scenarioOf({ ...QUICK, ...UNDONE }));

function scenarioOf(more: JsonObject): DriverScenario {
  const world = createWorld();
  const does = ["ok"];
  const first = world.wanted(does, { with: more });
  const second = world.wanted(does, {
    with: more,
    digest: `sha256:${"2".repeat(64)}`,
    generation: { incarnation: 1n, number: 2n },
    releaseVersion: "1.1.0",
  });
  const key = { instanceId: `ins_${"b".repeat(32)}`, resourceId: "migrate" };
  const dirOf = ({ input }: StepOrder) => jobDir(world.context, INSTANCE, String(input["handle"]));
  const done = async (order: StepOrder): Promise<Job> => {
    await world.driver().run(order, world.known(first));
    const job = readJob(dirOf(order));
    if (job === undefined) throw new Error("a job that has run is not written down");
    return job;
  };
  const leave: Record<string, (order: StepOrder) => Promise<void>> = {
    [NOT_WRITTEN]: async (order) => {
      const { run, ...job } = await done(order);
      removeRun(world.context, job, run?.number ?? 0);
      writeJob(dirOf(order), { ...job, runs: 0, hasBegun: false });
    },
    [NOT_LAUNCHED]: async (order) => {
      const job = await done(order);
      if (job.run === undefined) throw new Error("no run");
      const { end, ...run } = job.run;
      removeRun(world.context, job, run.number);
      writeJob(dirOf(order), { ...job, hasBegun: false, run: { ...run, isLaunched: false } });
    },
    [NOT_SETTLED]: async (order) => {
      const job = await done(order);
      if (job.run === undefined) throw new Error("no run");
      const { end, ...run } = job.run;
      writeJob(dirOf(order), { ...job, hasBegun: false, run });
    },
    [WITHOUT_RUN]: async (order) => {
      const job = await done(order);
      if (job.run === undefined) throw new Error("no run");
      const { end, ...run } = job.run;
      removeRun(world.context, job, run.number);
      writeJob(dirOf(order), { ...job, hasBegun: false, run });
    },
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

function removeRun(context: Parameters<typeof jobDir>[0], job: Job, number: number): void {
  rmSync(join(jobDir(context, INSTANCE, runHandle(job.handle, number))), { recursive: true });
}

function fail(): never {
  throw new Error("no such crash");
}
