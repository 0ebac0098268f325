/** What the listeners of agents tell of themselves, for the metrics: each thing once, and with its reason. */
import { createConnection } from "node:net";
import { Fault } from "@holdfast/shared/fault.ts";
import { expect, it } from "vitest";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled } from "./memory-agent.ts";
import { createWorld, eventually, MemoryHub, startHub } from "./world.ts";

const count = (said: readonly string[], what: string) =>
  said.filter((each) => each === what).length;

it("sessions are told as they open and end, with what ended them", async () => {
  const { world, hub, running } = await fleet();
  const agent = await enrolled(world);
  const link = connect(agent);
  const { watched } = running;
  await eventually("the link", () => agent.isUp);
  await eventually("the note", () => count(watched, "written note") === 1);
  expect(count(watched, "handshake identity done")).toBe(1);
  expect(count(watched, "handshake link done")).toBe(1);
  expect(watched.filter((each) => /^(opened|ended)/.test(each))).toEqual(["opened"]);
  const fenced = new Fault("PERMISSION_DENIED", "AGENT_FENCED", "another agent has taken over");
  for (const expel of hub.outcasts) expel({ ...world.cell, below: 2n, fault: fenced });
  await eventually("the end", () => count(watched, "ended AGENT_FENCED") === 1);
  await link.stop();
  expect(count(watched, "opened")).toBe(1);
});

it("an agent that goes is no fault", async () => {
  const { world, running } = await fleet();
  const agent = await enrolled(world);
  const link = connect(agent);
  await eventually("the link", () => agent.isUp);
  await link.stop();
  await eventually("the end", () => running.watched.find((each) => each.startsWith("ended")));
  expect(running.watched.find((each) => each.startsWith("ended"))).toBe("ended ");
});

it("who is not admitted and who speaks no TLS are told apart", async () => {
  const world = await createWorld();
  const rate = { perSecond: 0.001, burst: 1 };
  const running = await startHub(
    world,
    new MemoryHub(),
    {},
    {
      ...{ hub: rate, address: rate, addressesMax: 10 },
    },
  );
  cleanups.push(() => running.stop());
  for (const outcome of ["failed", "refused"]) {
    const socket = createConnection(running.link.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await eventually(outcome, () => count(running.watched, `handshake link ${outcome}`) === 1);
    socket.destroy();
  }
});
