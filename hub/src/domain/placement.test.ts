/** Where instances and seats go: the rules one by one. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { describe, expect, it } from "vitest";
import { ACME, base, GLOBEX, good, NOW, named } from "./placement.test-world.ts";
import {
  CELL_AWAY_MS_MAX,
  fullness,
  lacking,
  type PoolFacts,
  placeInstance,
  placeSeat,
} from "./placement.ts";

const bounded = (instances: number, used: number) => ({
  capacity: { instances, resources: {} },
  load: { instances: used, resources: {} },
});

describe("of several cells that fit, it picks", () => {
  it.each([
    {
      it: "the emptiest by share, not by number",
      cells: [named("small", bounded(4, 2)), named("large", bounded(100, 10))],
      picks: "large",
    },
    {
      it: "the emptiest by the fullest of its resources",
      cells: [
        named("cpu", {
          capacity: { instances: 10, resources: { cpu: 10 } },
          load: { instances: 1, resources: { cpu: 7 } },
        }),
        named("count", bounded(10, 6)),
      ],
      picks: "count",
    },
    {
      it: "the one with fewer instances where none has a bound",
      cells: [named("a", bounded(0, 3)), named("b", bounded(0, 2))],
      picks: "b",
    },
    { it: "the first by name at equal load", cells: [named("b"), named("a")], picks: "a" },
    {
      it: "a connected one before an emptier one that is away for a moment",
      cells: [
        named("away", { agent: { awaySinceMs: NOW - 1_000, drivers: ["process"] } }),
        named("there", bounded(10, 9)),
      ],
      picks: "there",
    },
    {
      it: "the tenant's own before the vendor's where both are allowed",
      request: { ...base, kinds: ["byoa", "hosted"] as const },
      cells: [named("hosted"), named("own", { tenantId: ACME, ...bounded(10, 9) })],
      picks: "own",
    },
  ])("$it", ({ cells: all, picks, request: asked = base }) => {
    expect(placeInstance(asked, all)).toMatchObject({ kind: "cell", cell: { name: picks } });
  });

  it("one of as many as fitted just as well", () => {
    const away = named("away", { agent: { awaySinceMs: NOW - 1_000, drivers: ["process"] } });
    const decision = placeInstance(base, [named("a"), named("b"), away]);
    expect(decision).toMatchObject({ kind: "cell", among: 2 });
  });
});

describe("it refuses a cell", () => {
  it.each([
    { it: "of another tenant", cell: named("x", { tenantId: GLOBEX }), reason: "OWNER", what: "" },
    {
      it: "of the vendor for a tenant that has its own",
      cell: named("x"),
      beside: [named("own", { tenantId: ACME, deleting: true })],
      reason: "KIND",
      what: "hosted",
    },
    {
      it: "without an agent, or whose agent said nothing yet",
      cell: named("x", { agent: undefined }),
      reason: "NO_AGENT",
      what: "",
    },
    {
      it: "whose agent is away for long",
      cell: named("x", {
        agent: { awaySinceMs: NOW - CELL_AWAY_MS_MAX - 1, drivers: ["process"] },
      }),
      reason: "AWAY",
      what: "",
    },
    {
      it: "whose agent lacks a driver",
      cell: named("x", { agent: { awaySinceMs: undefined, drivers: ["helm"] } }),
      reason: "DRIVER_MISSING",
      what: "process",
    },
    { it: "that is full", cell: named("x", bounded(3, 3)), reason: "FULL", what: "instances" },
    {
      it: "with too little of a resource",
      cell: named("x", {
        capacity: { instances: 0, resources: { cpu: 4 } },
        load: { instances: 1, resources: { cpu: 3 } },
      }),
      reason: "FULL",
      what: "cpu",
    },
    {
      it: "that is being deleted",
      cell: named("x", { deleting: true }),
      reason: "DELETING",
      what: "",
    },
  ])("$it", ({ cell: one, beside = [], reason, what }) => {
    const decision = placeInstance(base, [one, ...beside]);
    const found = decision.kind === "refused" ? decision.refusals : [];
    expect(found.find(({ name }) => name === "x")).toMatchObject({ reason, what });
  });
});

describe("a seat", () => {
  const pooled = { ...base, tenantId: NIL_UUID };
  const pool = (name: string, seats: number, cellId = "a"): PoolFacts => ({
    id: name,
    name,
    cellId,
    seats,
    seatsMax: 4,
    deleting: false,
  });
  const gone = named("gone", { agent: undefined });

  it.each([
    { it: "goes where most are free", pools: [pool("p1", 3), pool("p2", 1)], gets: "seat p2" },
    { it: "opens another when all are full", pools: [pool("p1", 4)], gets: "open a" },
    { it: "is refused when none may be opened", pools: [pool("p1", 4)], no: true, gets: "refused" },
    {
      it: "prefers a new one to one without an agent",
      pools: [pool("p1", 0, "gone")],
      gets: "open a",
    },
    {
      it: "waits for an agent where nothing else is to be had",
      pools: [pool("p1", 0, "gone")],
      no: true,
      gets: "seat p1",
    },
  ])("$it", ({ pools, gets, no = false }) => {
    const decision = placeSeat(pooled, [good, gone], pools, !no);
    const said =
      decision.kind === "seat"
        ? `seat ${decision.pool.name}`
        : decision.kind === "refused"
          ? "refused"
          : `${decision.kind} ${decision.cell.name}`;
    expect(said).toBe(gets);
  });
});

describe("room", () => {
  it("is lacking where a resource is bounded at nothing, and not where it has no bound", () => {
    const none = { capacity: { instances: 0, resources: { gpu: 0 } }, load: good.load };
    expect(lacking(none, { gpu: 1 })).toEqual({ what: "gpu", limit: 0, used: 0 });
    expect(fullness(none)).toBe(1);
    expect(lacking(good, { gpu: 1 })).toBeUndefined();
    expect(fullness(good)).toBe(0);
  });
});
