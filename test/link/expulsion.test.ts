/** Agents that are no longer welcome: their streams end at once with the cause, and those of others go on. */
import { create } from "@bufbuild/protobuf";
import {
  ControlRequestSchema,
  ReportRequestSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { expect, it } from "vitest";
import { clientIdentityOf } from "../../agent/src/link/hub-client.ts";
import { cleanups, connect, fleet } from "./fleet.ts";
import { enrolled, linkOf } from "./memory-agent.ts";
import { clientTo, rawControl, rawReport } from "./raw.ts";
import { eventually } from "./world.ts";

const HELLO = create(ControlRequestSchema, {
  message: { case: "hello", value: { minProtocol: 1, maxProtocol: 1, fencing: 1n } },
});
const OPEN = create(ReportRequestSchema, { message: { case: "open", value: {} } });
const fenced = new Fault("PERMISSION_DENIED", "AGENT_FENCED", "another agent has taken over");

it("ends control and reports of the fenced, without a call of theirs", async () => {
  const { world, hub } = await fleet();
  const agent = await enrolled(world);
  const client = clientTo(world.ports.link, clientIdentityOf(agent.identity()));
  const [control, report] = [rawControl(client), rawReport(client)];
  control.call.write(HELLO);
  report.call.write(OPEN);
  await eventually(
    "both streams",
    () => control.responses.length > 0 && report.responses.length > 0,
  );
  const other = { ...world.cell, cellId: world.cell.vendorId };
  for (const expel of hub.outcasts) {
    expel({ ...other, fault: fenced });
    expel({ ...world.cell, below: 1n, fault: fenced });
  }
  expect(hub.leftSessions).toEqual([]);
  for (const expel of hub.outcasts) expel({ ...world.cell, below: 2n, fault: fenced });
  expect(await control.ended).toBe("PERMISSION_DENIED AGENT_FENCED");
  expect(await report.ended).toBe("PERMISSION_DENIED AGENT_FENCED");
});

it("leaves a fenced agent its reports, opened again, and tells it once that it is fenced", async () => {
  const { world, hub } = await fleet();
  const agent = await enrolled(world);
  connect(agent);
  await eventually("the link", () => agent.isUp);
  const before = hub.hellos.length;
  for (const expel of hub.outcasts) expel({ ...world.cell, below: 2n, fault: fenced });
  await eventually("the agent is told", () => agent.takeovers === 1);
  agent.measure(1n);
  await eventually("its usage is delivered", () => hub.batches.length > 0);
  expect(hub.hellos).toHaveLength(before);
  expect(agent.takeovers).toBe(1);
});

it("lets a fenced agent that was away for longer than its certificate lasts renew it and deliver", async () => {
  const { world, hub } = await fleet();
  world.clock.offsetMs = -4 * 86_400_000;
  const agent = await enrolled(world);
  world.clock.offsetMs = 0;
  agent.measure(1n);
  const link = linkOf(agent, {}, true);
  cleanups.push(() => link.stop());
  await eventually("its usage is delivered", () => hub.batches.length > 0);
  expect(agent.renewals).toBe(1);
  expect(hub.hellos).toEqual([]);
});
