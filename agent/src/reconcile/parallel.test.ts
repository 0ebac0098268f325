/**
 * Attempts over several resources: side by side where nothing says otherwise, what has no way back last, and the
 * truth of each resource where an attempt could not return.
 */
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type Attempt,
  AttemptState,
  ResourcePlace,
  StepState,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as attempts from "../store/attempts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import type { ResourceInput } from "./release.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;
beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

async function attempted(number: bigint, resources: readonly ResourceInput[]): Promise<Attempt> {
  await agent.intake.offered(world.offerOf({ number, resources }));
  const { attempt } = await agent.until(
    (status) =>
      status.attempt?.generation?.number === number &&
      status.attempt.state !== AttemptState.RUNNING &&
      attempts.find(agent.store, instanceId())?.phase === "ENDED",
  );
  if (attempt === undefined) throw new Error("no attempt");
  return attempt;
}

const running = () =>
  world
    .copies()
    .map(({ handle, file }) => `${handle.split("-")[0]} ${file.number}`)
    .sort();

/** Resource, where it is, and the generation. */
function truth({ resources }: Attempt): readonly string[] {
  return resources.map(({ id, place, generation }) => {
    const at = generation === undefined ? "none" : formatGeneration(generationOf(generation));
    return `${id} ${ResourcePlace[place]} ${at}`;
  });
}

describe("resources that do not need each other", () => {
  it("begin at once: each start waits here for the other", async () => {
    const resources = ["a", "b"].map((id) => ({ id, mode: "meet" }));
    expect((await attempted(1n, resources)).state).toBe(AttemptState.COMMITTED);
  });

  it("stop when one of them fails, and all that began is undone, last first", async () => {
    await attempted(1n, [{ id: "a" }, { id: "b" }, { id: "c", dependsOn: ["a"] }]);
    const before = agent.driver.orders.length;
    const attempt = await attempted(2n, [
      { id: "a", mode: "never-ready", readyMsMax: 60_000 },
      { id: "b", mode: "fail" },
      { id: "c", dependsOn: ["a"] },
    ]);
    expect(attempt.state).toBe(AttemptState.RETURNED);
    expect(attempt.reason).toBe("DRIVER_FAILED");
    expect(running()).toEqual(["a 1", "b 1", "c 1"]);
    expect(agent.driver.orders.slice(before)).toEqual(["a/start", "b/start", "b/stop", "a/stop"]);
    expect(attempt.steps.map(({ id, state }) => [id, StepState[state]])).toEqual([
      ["a/start", "UNDONE"],
      ["b/start", "UNDONE"],
      ["c/start", "PLANNED"],
      ...["c", "b", "a"].map(() => [expect.stringContaining("/stop/"), "PLANNED"]),
    ]);
  });
});

describe("what the serving generation was rendered to", () => {
  it("stays until the next commit, also of a resource that does not change", async () => {
    const ofCommitted = () =>
      attempts.findCommitted(agent.store, instanceId())?.resources.map(({ id, digest }) => {
        const rendering = attempts.findRendering(agent.store, instanceId(), digest);
        return [id, rendering?.releaseVersion, rendering?.generation.number];
      });
    // The release is part of what differs, so the same one is offered again.
    const offered = async (number: bigint, mode: string) => {
      const resources = [{ id: "a" }, { id: "b", mode }];
      await agent.intake.offered(world.offerOf({ number, release: 1, resources }));
      await agent.until(
        ({ attempt }) =>
          attempt?.generation?.number === number &&
          attempts.find(agent.store, instanceId())?.phase === "ENDED",
      );
    };
    await offered(1n, "");
    const first = [
      ["a", "1.0.0", 1n],
      ["b", "1.0.0", 1n],
    ];
    expect(ofCommitted()).toEqual(first);
    await offered(2n, "sick");
    expect(ofCommitted()).toEqual(first);
    await offered(3n, "other");
    expect(ofCommitted()).toEqual([
      ["a", "1.0.0", 3n],
      ["b", "1.0.0", 3n],
    ]);
    expect(running()).toEqual(["a 1", "b 3"]);
  });
});

describe("a step without a way back", () => {
  const db = { id: "db", mode: "final" };

  it("is not begun where another resource fails before", async () => {
    await attempted(1n, [{ id: "db" }, { id: "web" }]);
    const attempt = await attempted(2n, [db, { id: "web", mode: "sick" }]);
    expect(attempt.state).toBe(AttemptState.RETURNED);
    expect(attempt.resources).toEqual([]);
    expect(running()).toEqual(["db 1", "web 1"]);
    expect(agent.driver.orders.filter((order) => order === "db/start")).toHaveLength(1);
  });

  it("comes last, and what needs it after it", async () => {
    const resources = [db, { id: "report", dependsOn: ["db"] }, { id: "web" }];
    expect((await attempted(1n, resources)).state).toBe(AttemptState.COMMITTED);
    expect(agent.driver.orders).toEqual(["web/start", "db/start", "report/start"]);
  });

  it("makes a failure after it PARTIAL, with the truth of each resource", async () => {
    const first = [{ id: "db" }, { id: "web" }, { id: "report", dependsOn: ["db"] }];
    await attempted(1n, first);
    const attempt = await attempted(2n, [
      db,
      { id: "web" },
      { id: "report", mode: "fail", dependsOn: ["db"] },
      { id: "mail", dependsOn: ["report"] },
    ]);
    expect(attempt.state).toBe(AttemptState.PARTIAL);
    expect(truth(attempt)).toEqual([
      "db WANTED 1.2",
      "mail BEFORE none",
      "report BETWEEN 1.2",
      "web WANTED 1.2",
    ]);
    expect(attempt.message).toContain(
      "after db/start there is no way back: db at 1.2, mail not there, report on its way to 1.2, web at 1.2",
    );
    // The way is forward: nothing was taken back, and nothing of the old generation went.
    expect(running()).toEqual(["db 1", "db 2", "report 1", "report 2", "web 1", "web 2"]);
    const status = await agent.until(({ conditions }) =>
      conditions.some(({ type, message }) => type === "InSync" && message === attempt.message),
    );
    expect(status.committedGeneration?.number).toBe(1n);
  });

  it("goes forward by a retry that somebody asks for, and says so of both attempts", async () => {
    await attempted(1n, [{ id: "db" }, { id: "web" }]);
    agent.driver.faults.sick = true;
    const partial = await attempted(2n, [db, { id: "web", dependsOn: ["db"] }]);
    expect(partial.state).toBe(AttemptState.PARTIAL);
    expect(truth(partial)).toEqual(["db WANTED 1.2", "web BEFORE 1.1"]);
    agent.driver.faults.sick = false;
    await agent.order({ id: "again", kind: ActionKind.RETRY }).ended;
    const status = await agent.until(
      ({ attempt }) => attempt?.state === AttemptState.COMMITTED && attempt.id === 3n,
    );
    expect(status.history.map(({ id, state }) => [id, AttemptState[state]])).toEqual([
      [2n, "PARTIAL"],
      [1n, "COMMITTED"],
    ]);
    await agent.until(() => running().length === 2);
    expect(running()).toEqual(["db 2", "web 2"]);
  });
});
