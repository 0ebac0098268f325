/** What holds when many agents are let in at once: each by its own certificate, each with a session of its own. */
import { create } from "@bufbuild/protobuf";
import { HelloSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { describe, expect, it } from "vitest";
import type { AgentPrincipal } from "../../link/port.ts";
import { useTestHub } from "../../testing-hub.ts";
import { joinCell } from "../../testing-product.ts";
import { linkHub } from "./link-hub.ts";

const hub = useTestHub();
const link = () => linkHub(hub().parts.app);
const helloOf = ({ fencing }: AgentPrincipal) => create(HelloSchema, { fencing });

describe("agents that come at once", () => {
  it("are judged one by one: a bad certificate keeps nobody else out", async () => {
    const { principal: acme } = await joinCell(hub(), "acme-cell");
    const { principal: globex } = await joinCell(hub(), "globex-cell");
    const asked = [
      acme,
      { ...acme, serial: "00ff" },
      { ...globex, serial: acme.serial },
      { ...globex, cellId: acme.cellId },
      globex,
    ];
    const admitting = link();
    const settled = await Promise.allSettled(
      asked.map((principal) => admitting.admit(principal, helloOf(principal))),
    );
    expect(
      settled.map((each) =>
        each.status === "fulfilled" ? each.value.agentId : each.reason.reason,
      ),
    ).toEqual([
      acme.agentId,
      "CERTIFICATE_UNKNOWN",
      "CERTIFICATE_UNKNOWN",
      "AGENT_GONE",
      globex.agentId,
    ]);
  });

  it("get each a higher session than before, also one that asks twice in one moment", async () => {
    const { principal } = await joinCell(hub(), "acme-cell");
    const admitting = link();
    const hello = helloOf(principal);
    const before = await admitting.admit(principal, hello);
    const [first, second] = await Promise.all([
      admitting.admit(principal, hello),
      admitting.admit(principal, hello),
    ]);
    expect([first.session, second.session]).toEqual([before.session + 1n, before.session + 2n]);
    expect((await admitting.admit(principal, undefined)).session).toBe(second.session);
  });
});
