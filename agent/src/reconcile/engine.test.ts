/** The life of a change on the agent: accepted, attempted, committed or returned; and what never happens. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AttemptState, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AgentWorld, agentWorld, type RunningAgent } from "./engine.test-world.ts";

describe("an attempt", () => {
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

  const isCommitted = (number: bigint) => (status: InstanceStatus) =>
    status.committedGeneration?.number === number;

  it("brings a first generation up and publishes its outputs", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    const status = await agent.until(
      (each) => isCommitted(1n)(each) && each.outputs?.["worker"] !== undefined,
    );
    expect(status.attempt?.state).toBe(AttemptState.COMMITTED);
    expect(status.attempt?.steps.map(({ id }) => id)).toEqual(["worker/start"]);
    const [copy] = world.copies();
    expect(status.outputs).toEqual({ worker: `http://127.0.0.1:${copy?.file.port}` });
    const published = join(world.stateDir, "instances", "00000000000070008000000000000001");
    expect(JSON.parse(readFileSync(join(published, "outputs.json"), "utf8"))).toEqual({
      generation: "1.1",
      release: "1.0.0",
      outputs: status.outputs,
    });
  });

  it("replaces a generation and leaves nothing of the old one", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(isCommitted(1n));
    await agent.intake.offered(world.offerOf({ number: 2n }));
    await agent.until((each) => isCommitted(2n)(each) && world.copies().length === 1);
    expect(world.copies()[0]?.file.number).toBe("2");
    expect(agent.driver.orders).toEqual(["worker/start", "worker/start", "worker/stop"]);
  });

  it("goes on once what it has to tell can be written again", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(isCommitted(1n));
    // As a full disk does.
    let tries = 0;
    agent.store.db.function("tried", () => ++tries);
    agent.store.run(`create temp trigger refused before insert on status
      begin select tried(); select raise(fail, 'full'); end`);
    await agent.intake.offered(world.offerOf({ number: 2n }));
    await agent.until(isCommitted(2n));
    await agent.until(() => tries > 0);
    agent.store.run("drop trigger refused");
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until(isCommitted(3n));
  });

  it.each([
    { mode: "fail", reason: "DRIVER_FAILED" },
    { mode: "late", reason: "TIMEOUT" },
    { mode: "never-ready", reason: "READY_DEADLINE" },
    { mode: "sick", reason: "NOT_READY" },
  ])(
    "returns to the old generation when the new one is $mode, and is not tried again",
    async ({ mode, reason }) => {
      await agent.intake.offered(world.offerOf({ number: 1n }));
      await agent.until(isCommitted(1n));
      await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode }] }));
      const status = await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
      expect(status.attempt?.reason).toBe(reason);
      expect(status.committedGeneration?.number).toBe(1n);
      expect(world.copies().map(({ file }) => file.number)).toEqual(["1"]);
      const starts = () => agent.driver.orders.filter((order) => order === "worker/start").length;
      const before = starts();
      await agent.until(({ conditions }) =>
        conditions.some(({ type, reason: why }) => type === "InSync" && why === reason),
      );
      agent.engine.wakeAll();
      await agent.until((each) => each.conditions.some(({ reason: why }) => why === "READY"));
      expect(starts()).toBe(before);
      await agent.intake.offered(world.offerOf({ number: 3n }));
      await agent.until(isCommitted(3n));
      expect(existsSync(join(world.stateDir, "agent.db"))).toBe(true);
    },
  );
});
