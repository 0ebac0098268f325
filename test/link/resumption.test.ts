/**
 * Resumed TLS sessions: that they are resumed at all, across restarts of the hub; that who calls is judged anew in
 * each; and that replaced keys cost a full handshake and nothing else.
 */
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { ControlRequestSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import type { Ticket } from "../../agent/src/link/credentials.ts";
import { clientIdentityOf, hubClient } from "../../agent/src/link/hub-client.ts";
import { AGENT_CERTIFICATE_LIFE_MS } from "../../hub/src/pki/agent-certificate.ts";
import { cleanups } from "./fleet.ts";
import { enrolled, type MemoryAgent } from "./memory-agent.ts";
import { rawControl } from "./raw.ts";
import { createWorld, eventually, MemoryHub, startHub, type World } from "./world.ts";

const HELLO = create(ControlRequestSchema, {
  message: { case: "hello", value: { minProtocol: 1, maxProtocol: 1, fencing: 1n } },
});

/** [9] ticket_lifetime_hint, INTEGER 43200, of an SSL_SESSION in DER. */
const HINT_12_H = "a905020300a8c0";

/** Connects, says hello, and leaves once there is a ticket. What the call came to, and whether it was resumed. */
async function visit(world: World, agent: MemoryAgent, ticket: Ticket) {
  const identity = clientIdentityOf(agent.identity());
  const client = hubClient(`localhost:${world.ports.link}`, identity, { ticket });
  const control = rawControl(client);
  let end = "";
  void control.ended.then((how) => {
    end = how;
  });
  control.call.write(HELLO);
  await eventually("an answer", () => control.responses.length > 0 || end !== "");
  await eventually("a ticket", () => ticket.session !== undefined);
  control.call.cancel();
  client.close();
  const { resumed } = ticket;
  return { resumed, answer: control.responses[0]?.message.case ?? end };
}

async function started(ticketKeys?: () => Uint8Array) {
  const world = await createWorld();
  const hub = new MemoryHub();
  const running = await startHub(world, hub, {}, undefined, undefined, ticketKeys);
  cleanups.push(running.stop);
  return { world, hub, running, agent: await enrolled(world), ticket: {} as Ticket };
}

describe("a TLS session", () => {
  it("is resumed after the hub restarted, and the caller is still known by its certificate", async () => {
    const { world, running, agent, ticket } = await started();
    expect(await visit(world, agent, ticket)).toEqual({ resumed: false, answer: "welcome" });
    await running.stop();
    const hub = new MemoryHub();
    cleanups.push((await startHub(world, hub)).stop);
    expect(await visit(world, agent, ticket)).toEqual({ resumed: true, answer: "welcome" });
    expect(hub.hellos).toHaveLength(1);
  });

  it("can be resumed for half a certificate's life, also after the keys were loaded anew", async () => {
    const { world, running, agent, ticket } = await started();
    await visit(world, agent, ticket);
    expect(ticket.session?.toString("hex")).toContain(HINT_12_H);
    running.link.reload();
    const fresh: Ticket = {};
    await visit(world, agent, fresh);
    expect(fresh.session?.toString("hex")).toContain(HINT_12_H);
  });

  it("does not outlive the certificate: the call in it is refused", async () => {
    const { world, agent, ticket } = await started();
    await visit(world, agent, ticket);
    world.clock.offsetMs += AGENT_CERTIFICATE_LIFE_MS + 60_000;
    expect(await visit(world, agent, ticket)).toEqual({
      resumed: true,
      answer: "UNAUTHENTICATED CERTIFICATE_EXPIRED",
    });
  });

  it.each([
    new Fault("PERMISSION_DENIED", "AGENT_FENCED", "another agent has taken over"),
    new Fault("UNAUTHENTICATED", "CERTIFICATE_REVOKED", "it was revoked"),
  ])("does not bring an agent back that is refused meanwhile: %s", async (fault) => {
    const { world, hub, agent, ticket } = await started();
    await visit(world, agent, ticket);
    hub.admit = () => Promise.reject(fault);
    expect(await visit(world, agent, ticket)).toEqual({
      resumed: true,
      answer: `${fault.code} ${fault.reason}`,
    });
  });

  it("of replaced keys is not resumed, and the next one is", async () => {
    let keys = randomBytes(48);
    const { world, running, agent, ticket } = await started(() => keys);
    await visit(world, agent, ticket);
    keys = randomBytes(48);
    running.link.reload();
    expect(await visit(world, agent, ticket)).toEqual({ resumed: false, answer: "welcome" });
    expect(await visit(world, agent, ticket)).toEqual({ resumed: true, answer: "welcome" });
  });
});
