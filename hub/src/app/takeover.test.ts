/** Taking a cell over: who may, what the agent before is refused from then on, and what it may still deliver. */
import { sign } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { AgentService, AgentState } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { HelloSchema, StatusReportSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { renewProofBytes } from "@holdfast/shared/identity-proof.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AgentPrincipal, AgentSession, Expelled, LinkHub } from "../link/port.ts";
import { useTestHub } from "../testing-hub.ts";
import { enrolment, joinCell, offerProduct, tokenFor } from "../testing-product.ts";
import { identityHub } from "./link/identity.ts";
import { linkHub } from "./link/link-hub.ts";

const hub = useTestHub();
const PEER = { address: "127.0.0.1" };
let link: LinkHub;
let cell = "";
let cellCount = 0;

beforeAll(async () => {
  await offerProduct(hub());
  link = linkHub(hub().parts.app);
});

beforeEach(async () => {
  cell = `over-${++cellCount}`;
  const spec = { kind: CellKind.HOSTED, region: "local" };
  await cells().createCell({ cell: { metadata: { name: cell }, spec } });
});

const cells = () => hub().client(CellService, hub().tokens.owner);
const identity = () => identityHub(hub().parts.app);
const join = async (joinToken: string) => identity().enroll(await enrolment(joinToken), PEER);

async function connect(): Promise<AgentSession> {
  const { principal } = await joinCell(hub(), cell);
  return admit(principal);
}

function admit(principal: AgentPrincipal): Promise<AgentSession> {
  return link.admit(principal, create(HelloSchema, { fencing: principal.fencing }));
}

async function agentStates(): Promise<AgentState[]> {
  const { agents } = await hub().client(AgentService, hub().tokens.owner).listAgents({});
  return agents
    .filter(({ spec }) => spec?.cell === cell)
    .sort((a, b) => Number((a.status?.fencing ?? 0n) - (b.status?.fencing ?? 0n)))
    .map(({ status }) => status?.state ?? AgentState.UNSPECIFIED);
}

describe("a token", () => {
  it("for the first agent is not made for a cell that has one, and the refusal names the way", async () => {
    await connect();
    await expect(cells().createJoinToken({ cell })).rejects.toThrow(
      new RegExp(`agent ${cell}-1 is active there`),
    );
  });

  it("for the first agent that is older than the agent is refused, unspent", async () => {
    const { joinToken: late } = await cells().createJoinToken({ cell });
    await connect();
    for (const _ of ["once", "and again"]) {
      await expect(join(late)).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "CELL_TAKEN",
        next: `holdfast cell takeover ${cell}`,
      });
    }
    expect(await agentStates()).toEqual([AgentState.ACTIVE]);
  });

  it("to take over is not made for a cell without an agent", async () => {
    await expect(cells().createTakeoverToken({ cell })).rejects.toThrow(/no agent to take over/);
  });

  it("to take over says whom, and lets nobody in after another takeover", async () => {
    await connect();
    const [first, second] = [
      await cells().createTakeoverToken({ cell }),
      await cells().createTakeoverToken({ cell }),
    ];
    expect(first.replaces).toBe(`${cell}-1`);
    await join(first.joinToken);
    await expect(join(second.joinToken)).rejects.toMatchObject({ reason: "CELL_TAKEN" });
    expect(await agentStates()).toEqual([AgentState.FENCED, AgentState.ACTIVE]);
  });

  it("to take over lets one of two in that come at once", async () => {
    await connect();
    const tokens = [await tokenFor(hub(), cell), await tokenFor(hub(), cell)];
    const ends = await Promise.allSettled(tokens.map(join));
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(await agentStates()).toEqual([AgentState.FENCED, AgentState.ACTIVE]);
  });

  it("is refused to an agent that holds workloads of another cell, before anybody is fenced", async () => {
    await connect();
    const request = await enrolment(await tokenFor(hub(), cell));
    const cellId = idOf("cell", "01980000-0000-7000-8000-00000000cccc");
    await expect(identity().enroll({ ...request, cellId }, PEER)).rejects.toMatchObject({
      reason: "CELL_OTHER",
    });
    expect(await agentStates()).toEqual([AgentState.ACTIVE]);
  });
});

describe("a fenced agent", () => {
  it("is told at once, in an event, and by whom", async () => {
    const expelled: Expelled[] = [];
    const stop = link.onExpelled((each) => void expelled.push(each));
    const first = await connect();
    const second = await connect();
    stop();
    const mine = expelled.filter(({ cellId }) => cellId === first.cellId);
    expect(mine).toMatchObject([{ below: second.fencing, fault: { reason: "AGENT_FENCED" } }]);
    const find = async () => {
      const { events } = await hub()
        .client(EventService, hub().tokens.owner)
        .listEvents({ pageSize: 500 });
      return events.find(({ type, subjectName }) => {
        return type === "cell.taken_over" && subjectName === cell;
      });
    };
    await expect.poll(find).toMatchObject({
      before: { activeAgent: `${cell}-1`, fencing: "1" },
      after: { activeAgent: `${cell}-2`, fencing: "2" },
    });
    expect((await find())?.principal).toMatch(/^member\//);
  });

  it("has its late status refused by the statement itself, in its old session too", async () => {
    const old = await connect();
    await link.statusReported(old, create(StatusReportSchema));
    await connect();
    await expect(link.statusReported(old, create(StatusReportSchema))).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      reason: "AGENT_FENCED",
    });
  });

  it("opens no control stream, but may open its reports", async () => {
    const old = await connect();
    await connect();
    await expect(admit(old)).rejects.toMatchObject({ reason: "AGENT_FENCED" });
    expect(await link.admit(old, undefined)).toMatchObject({ active: false });
  });

  it("renews its certificate for 35 days, to deliver what it has, and no longer", async () => {
    const { principal, identity: key } = await joinCell(hub(), cell);
    await connect();
    await connect();
    const renewAfter = async (days: number) => {
      const { app } = hub().parts;
      const now = () => app.clock.now() + days * 86_400_000;
      const { certificateRequest } = await enrolment("hfj_any");
      const proof = sign(null, renewProofBytes(certificateRequest), key.privateKey);
      const later = identityHub({ ...app, clock: { ...app.clock, now } });
      return later.renew(principal, certificateRequest, proof, PEER);
    };
    expect((await renewAfter(34)).certificate?.chain).toHaveLength(1);
    await expect(renewAfter(36)).rejects.toMatchObject({ reason: "AGENT_FENCED" });
  });
});

it("lets agents of a deleted cell go at once", async () => {
  const expelled: Expelled[] = [];
  const session = await connect();
  const stop = link.onExpelled((each) => void expelled.push(each));
  await cells().deleteCell({ cell });
  stop();
  expect(expelled).toMatchObject([{ cellId: session.cellId, fault: { reason: "AGENT_GONE" } }]);
  expect(expelled[0]?.below).toBeUndefined();
});
