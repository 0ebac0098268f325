/** How the link behaves when readers are slow, lines are dead, stores fail and hubs restart. */
import { connect as tlsConnect } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { ControlRequestSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { clientIdentityOf } from "../../agent/src/link/hub-client.ts";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { clientTo, proxyTo, rawControl } from "./raw.ts";
import { createWorld, eventually, MemoryHub, startHub } from "./world.ts";

const hello = (maxProtocol = 1) =>
  create(ControlRequestSchema, {
    message: { case: "hello", value: { minProtocol: 1, maxProtocol, fencing: 1n } },
  });
const instance = (n: number) => `ins_${n.toString(16).padStart(32, "0")}`;

describe("a slow agent", () => {
  it("gets the latest when it reads again, not what came in between", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    let open: () => void = () => undefined;
    agent.gate = new Promise((resolve) => {
      open = resolve;
    });
    connect(agent);
    await eventually("the link", () => agent.isUp);
    const changes = 400;
    for (let n = 1; n <= changes; n++) {
      hub.assign(instance(1), BigInt(n), 200_000);
      hub.ring(world.cell);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await systemClock.sleep(50);
    open();
    await eventually("the latest", () => agent.held.get(instance(1))?.generation?.number === 400n);
    expect(agent.offers.length).toBeLessThan(changes / 4);
  });

  it("is spared the rest of a page that is no longer the latest", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    let open: () => void = () => undefined;
    agent.gate = new Promise((resolve) => {
      open = resolve;
    });
    const instances = Array.from({ length: 50 }, (_, n) => instance(n));
    for (const each of instances) hub.assign(each, 1n, 100_000);
    connect(agent);
    await eventually("the first page", () => hub.asked.length > 0 && agent.isUp);
    for (const each of instances) hub.assign(each, 2n, 100_000);
    hub.ring(world.cell);
    await systemClock.sleep(50);
    open();
    const isLatest = (each: string) => agent.held.get(each)?.generation?.number === 2n;
    await eventually("all of the latest", () => instances.every(isLatest));
    expect(agent.offers.length).toBeLessThan(90);
  });

  it("is offered all of many instances, page by page", async () => {
    const { world, hub } = await fleet();
    for (let n = 1; n <= 300; n++) hub.assign(instance(n), 1n);
    const agent = await enrolled(world);
    connect(agent);
    await eventually("all offers", () => agent.held.size === 300);
    expect(agent.offers.length).toBe(300);
  });
});

describe("a black hole", () => {
  it("is noticed by keepalive on both sides, and left", async () => {
    const { world, hub, running } = await fleet(new MemoryHub(), {
      keepaliveMs: 300,
      keepaliveTimeoutMs: 150,
    });
    const agent = await enrolled(world);
    const proxy = await proxyTo(() => world.ports.link);
    agent.at({ linkEndpoints: [`localhost:${proxy.port}`, `localhost:${world.ports.link}`] });
    const link = connect(agent, { timing: { keepaliveMs: 300, keepaliveTimeoutMs: 150 } });
    await eventually("the link", () => agent.isUp);
    proxy.hole(); // Nothing but keepalive tells of it: no side hears of an end.
    await eventually("the agent's notice", () => !agent.isUp);
    await eventually("the hub's notice", () => hub.leftSessions.includes(1n));
    await eventually("the return", () => agent.isUp && link.state.connection > 1);
    expect(running.link.connected).toBe(1);
  });
});

describe("the hub's part of a session", () => {
  it("sends key sets before the note, and the note again at half of its life", async () => {
    const hub = new MemoryHub();
    hub.keySets = [create(EnvelopeSchema, { payloadType: "next" })];
    hub.freshnessMs = 2_000;
    const { world } = await fleet(hub);
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the note again", () => agent.notes.length >= 2);
    expect(agent.keySets[0]?.payloadType).toBe("next");
  });

  it("loses nothing that an agent said or did while the database was busy", async () => {
    const { world, hub } = await fleet();
    const busy = () =>
      new Fault("RESOURCE_EXHAUSTED", "BUSY", "too many wait", { retryAfterMs: 1 });
    const once = <Args extends unknown[], Result>(work: (...args: Args) => Promise<Result>) => {
      let failed = false;
      return (...args: Args) => {
        if (failed) return work(...args);
        failed = true;
        return Promise.reject(busy());
      };
    };
    hub.statusReported = once(hub.statusReported.bind(hub));
    hub.differing = once(hub.differing.bind(hub));
    hub.left = once(hub.left.bind(hub));
    hub.assign(instance(1), 1n);
    const agent = await enrolled(world);
    const link = connect(agent);
    await eventually("the offer", () => agent.offers.length === 1);
    agent.say(instance(1));
    await eventually("the status", () => hub.statuses.length === 1);
    expect(agent.welcomes).toHaveLength(1);
    await link.stop();
    await eventually("the end on record", () => hub.leftSessions.includes(1n));
  });

  it("asks for what differs again when the store says later", async () => {
    const { world, hub } = await fleet();
    const differing = hub.differing.bind(hub);
    let failures = 0;
    hub.differing = async (...given) => {
      if (failures++ < 2) throw new Fault("UNAVAILABLE", "STORE_DOWN", "the store is down");
      return differing(...given);
    };
    hub.assign(instance(1), 1n);
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the offer", () => agent.offers.length === 1);
    expect(agent.welcomes).toHaveLength(1);
  });

  it("refuses an agent that is not admitted with the reason, which the agent reports", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    hub.refuse = new Fault("PERMISSION_DENIED", "AGENT_REVOKED", "this agent was revoked");
    const link = connect(agent);
    const { message } = await eventually("the refusal", () => agent.changes[0]);
    expect(message).toContain("this agent was revoked");
    expect(link.state).toMatchObject({ phase: "waiting" });
  });

  it("ends when the agent is no longer welcome to what its cell is to be", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the first look", () => hub.asked.length > 0 && agent.isUp);
    const revoked = new Fault("UNAUTHENTICATED", "AGENT_REVOKED", "this agent was revoked");
    hub.differing = () => Promise.reject(revoked);
    hub.refuse = revoked;
    hub.ring(world.cell);
    const { message } = await eventually("the loss", () => agent.changes.find(({ up }) => !up));
    expect(message).toContain("this agent was revoked");
  });

  it("tells what a ringer brings without asking the store, but nothing older than the agent holds", async () => {
    const { world, hub } = await fleet();
    const [older, newer] = [hub.assign(instance(1), 1n), hub.assign(instance(1), 2n)];
    const agent = await enrolled(world);
    connect(agent);
    await eventually(
      "the first look",
      () => agent.held.get(instance(1))?.generation?.number === 2n,
    );
    const other = hub.assign(instance(2), 1n);
    const looks = hub.asked.length;
    for (const fresh of [newer, older, other]) hub.ring(world.cell, fresh);
    await eventually("the offer", () => agent.held.has(instance(2)));
    expect(hub.asked).toHaveLength(looks);
    expect(agent.offers).toHaveLength(2);
    hub.assign(instance(3), 1n);
    hub.ring(world.cell, hub.assign(instance(1), 3n));
    hub.ring(world.cell);
    await eventually("all that differs", () => agent.held.has(instance(3)));
    expect(agent.held.get(instance(1))?.generation?.number).toBe(3n);
  });

  it("looks again when it is rung while the last look is being told", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the link", () => agent.isUp && hub.asked.length > 0);
    const freshness = hub.freshness.bind(hub);
    hub.freshness = async () => {
      hub.freshness = freshness;
      hub.assign(instance(2), 1n);
      hub.ring(world.cell);
      await systemClock.sleep(20);
      return freshness();
    };
    hub.assign(instance(1), 1n);
    hub.ring(world.cell);
    await eventually(
      "both offers",
      () => agent.held.has(instance(1)) && agent.held.has(instance(2)),
    );
  });

  it("never shows the text of an unexpected error", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    hub.newsFor = () => Promise.reject(new Error("select secret from vault"));
    connect(agent);
    const { message } = await eventually("the loss", () => agent.changes.find(({ up }) => !up));
    expect(message).toMatch(/internal error$/);
  });

  it("sends statuses once, then only those that changed", async () => {
    const { world, hub } = await fleet();
    const agent = await enrolled(world);
    for (let n = 0; n < 100; n++) agent.say(instance(n));
    connect(agent);
    const count = () => hub.statuses.reduce((sum, { instances }) => sum + instances.length, 0);
    await eventually("all statuses", () => count() === 100);
    expect(Math.max(...hub.statuses.map(({ instances }) => instances.length))).toBe(64);
    agent.say(instance(7));
    await eventually("the change", () => count() === 101);
    expect(hub.statuses.at(-1)?.instances.map(({ instanceId }) => instanceId)).toEqual([
      instance(7),
    ]);
  });

  it("tells agents to come back within the spread when it stops", async () => {
    const { world, running } = await fleet();
    const agent = await enrolled(world);
    connect(agent);
    await eventually("the link", () => agent.isUp);
    await running.stop();
    expect(agent.changes.at(-1)).toEqual({
      up: false,
      message: "the hub asked to come back later",
    });
  });

  it("gives an agent without instances a welcome and a note, nothing else", async () => {
    const { world } = await fleet();
    const agent = await enrolled(world);
    const client = clientTo(world.ports.link, clientIdentityOf(agent.identity()));
    const control = rawControl(client);
    control.call.write(hello(3));
    await eventually("welcome and note", () => control.responses.length === 2);
    expect(control.responses.map(({ message }) => message.case)).toEqual(["welcome", "freshness"]);
  });
});

describe("admission", () => {
  it("closes the connections of an address beyond its share, and lets it in later", async () => {
    const world = await createWorld();
    const bounds = { hub: { perSecond: 100, burst: 100 }, addressesMax: 10 };
    // One an hour, so that a busy machine does not let one more in meanwhile.
    const admission = { ...bounds, address: { perSecond: 1 / 3_600, burst: 2 } };
    const hub = new MemoryHub();
    cleanups.push((await startHub(world, hub, {}, admission)).stop);
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => probe(world.ports.link)));
    expect(outcomes.filter((each) => each === "handshake")).toHaveLength(2);
    world.clock.aheadMs = 3_600_000;
    expect(await probe(world.ports.link)).toBe("handshake");
  });
});

/** Whether the listener begins a handshake with a new connection. */
function probe(port: number): Promise<"handshake" | "closed"> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    socket.on("secureConnect", () => resolve("handshake"));
    socket.on("error", () => resolve("closed"));
    socket.on("close", () => resolve("closed"));
    cleanups.push(() => socket.destroy());
  });
}
