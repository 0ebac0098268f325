/** Instances that take outputs of others: who waits, what happens when they change, and what is never taken. */
import { create } from "@bufbuild/protobuf";
import { InstanceReferenceSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import type { InstanceInput } from "./release.test-world.ts";

const [STORE, WORKER] = [instanceId(1), instanceId(2)];

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

const serves = (number: bigint) => (status: InstanceStatus) =>
  status.committedGeneration?.number === number;
const inSync = ({ conditions }: InstanceStatus) => {
  const found = conditions.find(({ type }) => type === "InSync");
  return `${found?.reason}: ${found?.message}`;
};
const copiesOf = (id: string) => world.copies().filter(({ file }) => file.instanceId === id);

type Taking = Readonly<{ asked?: Partial<InstanceInput>; from?: string; mode?: string }>;

/** The worker's first generation, which takes the url of the store. */
function taking({ asked = {}, from = STORE, mode = "" }: Taking = {}) {
  const named = { name: "db", instanceId: from, instanceName: "store" };
  return world.offerOf({
    ...{ instance: WORKER, number: 1n, release: 50 },
    instances: [{ name: "db", outputs: { store: "string" }, ...asked }],
    resources: [{ id: "worker", args: [`\${instances.db.outputs.store}`], mode }],
    assignment: { instances: from === "" ? [] : [create(InstanceReferenceSchema, named)] },
  });
}

const store = (number: bigint) =>
  world.offerOf({ instance: STORE, number, resources: [{ id: "store" }] });

const urlOf = (id: string) => `http://127.0.0.1:${copiesOf(id)[0]?.file.port}`;

describe("an instance that takes an output of another", () => {
  it("waits for its commit, and runs with what was committed", async () => {
    await agent.intake.offered(taking());
    const waiting = await agent.until((each) => inSync(each).startsWith("DEPENDENCY"), WORKER);
    expect(inSync(waiting)).toContain("store");
    expect(inSync(waiting)).toContain("is not in this cell");
    expect(copiesOf(WORKER)).toEqual([]);
    await agent.intake.offered(store(1n));
    await agent.until(serves(1n), WORKER);
    expect(copiesOf(WORKER)[0]?.file.argv.at(-1)).toBe(urlOf(STORE));
  });

  it("is brought to what it gives out now by an attempt, and the old copy goes after it", async () => {
    await agent.intake.offered(store(1n));
    await agent.intake.offered(taking());
    const first = await agent.until(serves(1n), WORKER);
    const before = copiesOf(WORKER)[0]?.file.argv.at(-1);
    await agent.intake.offered(store(2n));
    await agent.until(serves(2n), STORE);
    await agent.until(
      () => copiesOf(WORKER).length === 1 && copiesOf(WORKER)[0]?.file.argv.at(-1) !== before,
      WORKER,
    );
    await agent.until(() => copiesOf(STORE).length === 1, STORE);
    expect(copiesOf(WORKER)[0]?.file.argv.at(-1)).toBe(urlOf(STORE));
    const second = await agent.until((each) => inSync(each).startsWith("COMMITTED"), WORKER);
    expect(second.committedGeneration).toEqual(first.committedGeneration);
    expect(second.attempt?.startTime).not.toEqual(first.attempt?.startTime);
  });

  it("keeps what serves where the new value does not do, and tries it once", async () => {
    await agent.intake.offered(store(1n));
    await agent.intake.offered(taking());
    await agent.until(serves(1n), WORKER);
    await agent.until((each) => inSync(each).startsWith("COMMITTED"), WORKER);
    const before = copiesOf(WORKER);
    // Of generation 1 are the worker's copies alone, the one to come included.
    agent.driver.faults.slow = "1";
    await agent.intake.offered(store(2n));
    const failed = await agent.until((each) => inSync(each).startsWith("READY_DEADLINE"), WORKER);
    expect(failed.committedGeneration?.number).toBe(1n);
    expect(copiesOf(WORKER)).toEqual(before);
  });

  it("goes on with what it has while the other one is away", async () => {
    await agent.intake.offered(store(1n));
    await agent.intake.offered(taking());
    await agent.until(serves(1n), WORKER);
    const before = copiesOf(WORKER);
    const away = world.offerOf({ instance: STORE, number: 2n, release: 1, tombstone: true });
    await agent.intake.offered(away);
    await agent.until(({ removed }) => removed, STORE);
    agent.engine.wake(WORKER);
    const still = await agent.until((each) => inSync(each).startsWith("COMMITTED"), WORKER);
    expect(still.attempt?.generation?.number).toBe(1n);
    expect(copiesOf(WORKER)).toEqual(before);
  });
});

describe("what does not fit", () => {
  it.each<[string, Taking, RegExp]>([
    ["another product", { asked: { product: "crm" } }, /is of product etl; allowed: crm/],
    [
      "an output that is not there",
      { asked: { outputs: { store: "string", x: "any" } } },
      /no output x/,
    ],
    [
      "an output of another type",
      { asked: { outputs: { store: "integer" } } },
      /is of type string/,
    ],
    ["itself", { from: WORKER }, /is the instance itself/],
    ["one of another cell", { from: instanceId(9) }, /is not in this cell/],
    ["none", { from: "" }, /names none that stands for it/],
  ])("is held: %s", async (_, offer, message) => {
    await agent.intake.offered(store(1n));
    await agent.until(serves(1n), STORE);
    await agent.intake.offered(taking(offer));
    const held = await agent.until((each) => inSync(each).startsWith("DEPENDENCY"), WORKER);
    expect(inSync(held)).toMatch(message);
    expect(copiesOf(WORKER)).toEqual([]);
  });

  it("is refused before it is signed, and again by the agent: a name that is not declared", async () => {
    const offer = world.offerOf({
      ...{ instance: WORKER, number: 1n, release: 51 },
      resources: [{ id: "worker", args: [`\${instances.other.outputs.url}`] }],
    });
    await agent.intake.offered(offer);
    const refused = await agent.until(
      ({ attempt }) => attempt?.reason === "BLUEPRINT_INVALID",
      WORKER,
    );
    expect(refused.attempt?.message).toContain("unknown name");
  });
});
