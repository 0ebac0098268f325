/**
 * Two processes with one identity, as after a copy of a directory: neither is let in, whatever process of the hub they
 * ask and however often, until another agent takes over. An agent that only starts again is never taken for two.
 */
import { create } from "@bufbuild/protobuf";
import { AgentService, AgentState } from "@holdfast/proto/holdfast/api/v1/agent_pb.js";
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { type Event, EventService } from "@holdfast/proto/holdfast/api/v1/event_pb.js";
import { HelloSchema, StatusReportSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { beforeEach, describe, expect, it } from "vitest";
import type { AgentPrincipal, Expelled } from "../../link/port.ts";
import { useTestHub } from "../../testing-hub.ts";
import { joinCell } from "../../testing-product.ts";
import { linkHub } from "./link-hub.ts";

const hub = useTestHub();
/** Anew each time, as after a start of the hub: nothing is remembered but what is stored. */
const link = () => linkHub(hub().parts.app);
let cell = "";
let cellCount = 0;
let principal: AgentPrincipal;

beforeEach(async () => {
  cell = `twin-${++cellCount}`;
  const spec = { kind: CellKind.HOSTED, region: "local" };
  const cells = hub().client(CellService, hub().tokens.owner);
  await cells.createCell({ cell: { metadata: { name: cell }, spec } });
  ({ principal } = await joinCell(hub(), cell));
});

const hello = (life: string) =>
  link().admit(principal, create(HelloSchema, { fencing: principal.fencing, life, bootId: "b" }));

/** What each was told: let in, or the reason why not. */
async function all(...lives: string[]): Promise<string[]> {
  const told: string[] = [];
  for (const life of lives) {
    told.push(
      await hello(life).then(
        () => "in",
        ({ reason }: { reason: string }) => reason,
      ),
    );
  }
  return told;
}

const states = async () => {
  const { agents } = await hub().client(AgentService, hub().tokens.owner).listAgents({});
  return agents
    .filter(({ spec }) => spec?.cell === cell)
    .map(({ metadata, status }) => [metadata?.name, status?.state]);
};

async function eventsOf(type: string): Promise<Event[]> {
  const { events } = await hub()
    .client(EventService, hub().tokens.owner)
    .listEvents({ pageSize: 500 });
  return events.filter((each) => each.type === type && each.subjectName.startsWith(`${cell}-`));
}

const TWINS = ["a", "b", "a", "b", "a", "b", "a"];

describe("two processes with one identity", () => {
  it("are both refused once it is certain, with the next command", async () => {
    expect(await all(...TWINS)).toEqual(TWINS.map(() => "in"));
    expect(await all("b", "a", "b")).toEqual(Array(3).fill("IDENTITY_FROZEN"));
    await expect(hello("a")).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      next: `holdfast cell takeover ${cell}`,
    });
    expect(await states()).toEqual([[`${cell}-1`, AgentState.FROZEN]]);
  });

  it("are refused also when they ask in one moment", async () => {
    await all(...TWINS.slice(0, 4));
    const admitting = link();
    const lives = ["a", "b", "a", "b"];
    const settled = await Promise.allSettled(
      lives.map((life) =>
        admitting.admit(principal, create(HelloSchema, { fencing: principal.fencing, life })),
      ),
    );
    // The first one may have gone alone, and been let in; its session ended with the rest.
    expect(settled.slice(1).map(({ status }) => status)).toEqual(Array(3).fill("rejected"));
    expect(await all("a")).toEqual(["IDENTITY_FROZEN"]);
  });

  it("write nothing any more and lose their streams at once", async () => {
    await all(...TWINS.slice(0, -1));
    const last = await hello("a");
    const expelled: Expelled[] = [];
    const stop = link().onExpelled((each) => void expelled.push(each));
    await all("b");
    stop();
    expect(expelled.filter(({ cellId }) => cellId === principal.cellId)).toMatchObject([
      { below: principal.fencing + 1n, fault: { reason: "IDENTITY_FROZEN" } },
    ]);
    await expect(link().statusReported(last, create(StatusReportSchema))).rejects.toMatchObject({
      reason: "SESSION_OLD",
    });
    expect(await link().admit(principal, undefined)).toMatchObject({ active: false });
  });

  it("are told of once, in an event", async () => {
    await all(...TWINS, "b", "a", "b");
    await expect.poll(() => eventsOf("agent.identity_frozen")).toHaveLength(1);
  });

  it("give way to whoever takes over", async () => {
    await all(...TWINS, "b");
    const before = principal;
    ({ principal } = await joinCell(hub(), cell));
    expect(await all("c")).toEqual(["in"]);
    expect(await states()).toEqual([
      [`${cell}-1`, AgentState.FENCED],
      [`${cell}-2`, AgentState.ACTIVE],
    ]);
    principal = before;
    expect(await all("a", "b")).toEqual(["AGENT_FENCED", "AGENT_FENCED"]);
  });
});

describe("one process", () => {
  it("may start again and connect again as often as it has to", async () => {
    const lives = Array.from({ length: 40 }, (_, n) => `life-${Math.floor(n / 3)}`);
    expect(await all(...lives)).toEqual(lives.map(() => "in"));
    expect(await states()).toEqual([[`${cell}-1`, AgentState.ACTIVE]]);
  });

  it("that says no life is known by its boot alone, which is never two", async () => {
    expect(await all("", "", "", "", "", "", "", "", "")).toEqual(Array(9).fill("in"));
  });
});

describe("a fenced agent that would act", () => {
  it("is refused, and its owner is told no more than once in an hour", async () => {
    const before = principal;
    await joinCell(hub(), cell);
    principal = before;
    expect(await all("a", "a", "a")).toEqual(Array(3).fill("AGENT_FENCED"));
    await expect
      .poll(() => eventsOf("agent.control_refused"))
      .toMatchObject([
        { subjectName: `${cell}-1`, principal: "hub/link", after: { fencing: "1" } },
      ]);
  });
});
