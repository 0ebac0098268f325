/** Actions and rehearsals over the real link: each order reaches the agent, once a session, and its answer the hub. */
import { create, equals } from "@bufbuild/protobuf";
import { ActionSchema, ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { eventually, type MemoryHub } from "./world.ts";

const INSTANCE = "ins_0198a0c0000070008000000000000001";
/** What an agent rehearses at once. */
const REHEARSALS_AT_ONCE = 16;

function order(hub: MemoryHub, id: string): void {
  hub.actions.set(id, create(ActionSchema, { id, instanceId: INSTANCE }));
}

describe("an action", () => {
  it("that waits is given with the welcome, and its answer comes back", async () => {
    const { world, hub } = await fleet();
    order(hub, "a1");
    const agent = await enrolled(world);
    connect(agent);
    const given = await eventually("the order", () => agent.orders[0]);
    expect(given.action).toMatchObject({ id: "a1", instanceId: INSTANCE });
    given.answer(ActionState.DONE);
    await eventually("the answer", () => hub.results[0]?.state === ActionState.DONE);
    expect(hub.results[0]?.id).toBe("a1");
  });

  it("is given at the ring of its bell, once a session, also while it is held", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the link", () => agent.isUp);
    order(hub, "a1");
    hub.ringAction(world.cell);
    (await eventually("the first", () => agent.orders[0])).answer(ActionState.HELD);
    await eventually("the hold", () => hub.results[0]?.state === ActionState.HELD);
    order(hub, "a2");
    hub.ringAction(world.cell);
    await eventually("the second", () => agent.orders.length === 2);
    expect(agent.orders.map(({ action }) => action.id)).toEqual(["a1", "a2"]);
  });

  it("whose answer was lost with its session is given again on the next one", async () => {
    const { world, hub, running } = await fleet();
    order(hub, "a1");
    const agent = await enrolled(world);
    connect(agent, { random: () => 0.01 });
    await eventually("the order", () => agent.orders.length === 1);
    await running.link.sessions.each((session) => session.end(new Fault("UNAVAILABLE", "X", "x")));
    await eventually("the order again", () => agent.orders.length === 2);
    agent.orders[1]?.answer(ActionState.DONE);
    await eventually("the answer", () => hub.results.length === 1);
    expect(agent.orders.map(({ action }) => action.id)).toEqual(["a1", "a1"]);
  });
});

describe("a rehearsal", () => {
  const candidate = create(EnvelopeSchema, { payloadType: "candidate" });

  it("reaches the agent with its candidate, and its answer comes back", async () => {
    const { world, hub } = await fleet();
    expect(hub.ask?.(world.cell, "r0", candidate)).toBe(false);
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the link", () => agent.isUp);
    expect(hub.ask?.(world.cell, "r1", candidate)).toBe(true);
    const answer = await eventually("the answer", () => hub.rehearsals[0]);
    expect(answer).toMatchObject({ id: "r1", reason: "" });
    const [heard] = agent.candidates;
    expect(heard !== undefined && equals(EnvelopeSchema, heard, candidate)).toBe(true);
  });

  it("holds up nothing else while it takes long, and more than the bound are refused", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    let finish: () => void = () => undefined;
    agent.rehearsing = new Promise((resolve) => {
      finish = resolve;
    });
    connect(agent);
    await eventually("the link", () => agent.isUp);
    for (let at = 0; at <= REHEARSALS_AT_ONCE; at++) hub.ask?.(world.cell, `r${at}`, candidate);
    const refused = await eventually("the refusal", () => hub.rehearsals[0]);
    expect(refused).toMatchObject({ id: "r16", reason: "REHEARSALS_TOO_MANY" });
    hub.assign(INSTANCE, 1n);
    hub.ring(world.cell);
    await eventually("the offer", () => agent.offers.length === 1);
    expect(hub.rehearsals).toHaveLength(1);
    finish();
    await eventually("all answers", () => hub.rehearsals.length === REHEARSALS_AT_ONCE + 1);
  });
});
