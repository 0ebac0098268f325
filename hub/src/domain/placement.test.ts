/** Where instances and seats go: what never happens whatever the cells, and the rules one by one. */
import { env } from "node:process";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CELL_AWAY_MS_MAX,
  type CellFacts,
  fullness,
  isServed,
  lacking,
  type PlacementRequest,
  type PoolFacts,
  placeInstance,
  placeSeat,
  REFUSAL_REASONS,
} from "./placement.ts";

const RUNS = { seed: Number(env["HOLDFAST_TEST_SEED"] ?? 1), numRuns: 500 };
const NOW = 1_800_000_000_000;
const ACME = "11111111-1111-7111-8111-111111111111";
const GLOBEX = "22222222-2222-7222-8222-222222222222";

const amounts = fc.dictionary(fc.constantFrom("cpu", "memory"), fc.integer({ min: 0, max: 8 }));
const labels = fc.dictionary(fc.constantFrom("tier", "zone"), fc.constantFrom("a", "b"));

const cell = (id: string): fc.Arbitrary<CellFacts> =>
  fc.record({
    id: fc.constant(id),
    name: fc.constantFrom("c1", "c2", "c3"),
    tenantId: fc.constantFrom(NIL_UUID, NIL_UUID, ACME, GLOBEX),
    region: fc.constantFrom("eu", "us", ""),
    labels,
    deleting: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
    agent: fc.option(
      fc.record({
        awaySinceMs: fc.option(fc.integer({ min: NOW - 2 * CELL_AWAY_MS_MAX, max: NOW }), {
          nil: undefined,
        }),
        drivers: fc.subarray(["process", "container"]),
      }),
      { nil: undefined },
    ),
    capacity: fc.record({ instances: fc.integer({ min: 0, max: 4 }), resources: amounts }),
    load: fc.record({ instances: fc.integer({ min: 0, max: 4 }), resources: amounts }),
  });

const cells = fc
  .integer({ min: 0, max: 8 })
  .chain((count) =>
    fc.tuple(
      ...Array.from({ length: count }, (_, at) => cell(`cell-${String(at).padStart(2, "0")}`)),
    ),
  );

const request: fc.Arbitrary<PlacementRequest> = fc.record({
  tenantId: fc.constantFrom(NIL_UUID, ACME),
  kinds: fc.oneof(
    fc.constant([]),
    fc.constant(["hosted"] as const),
    fc.constant(["byoa", "hosted"] as const),
  ),
  region: fc.constantFrom("", "", "eu"),
  labels: fc.oneof(fc.constant([]), fc.constant([["tier", "a"] as const])),
  drivers: fc.subarray(["process", "container"]),
  asks: amounts,
  nowMs: fc.constant(NOW),
});

const poolsIn = (all: readonly CellFacts[]): fc.Arbitrary<readonly PoolFacts[]> =>
  all.length === 0
    ? fc.constant([])
    : fc.array(
        fc.record({
          id: fc.uuid(),
          name: fc.constantFrom("p1", "p2", "p3"),
          cellId: fc.constantFrom(...all.map(({ id }) => id)),
          seats: fc.integer({ min: 0, max: 3 }),
          seatsMax: fc.integer({ min: 1, max: 3 }),
          deleting: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
        }),
        { maxLength: 5 },
      );

const world = fc.record({ request, cells }).chain((made) =>
  fc.record({
    request: fc.constant(made.request),
    cells: fc.constant(made.cells as readonly CellFacts[]),
    pools: poolsIn(made.cells),
    mayOpen: fc.boolean(),
  }),
);

const shuffled = <T>(all: readonly T[]) =>
  fc.shuffledSubarray([...all], { minLength: all.length, maxLength: all.length });

const decisionsOf = (each: {
  request: PlacementRequest;
  cells: readonly CellFacts[];
  pools: readonly PoolFacts[];
  mayOpen: boolean;
}) => [
  placeInstance(each.request, each.cells),
  placeSeat(each.request, each.cells, each.pools, each.mayOpen),
];

/** Fits whatever is asked. */
const perfect = ({
  tenantId,
  kinds,
  region,
  labels: wanted,
  drivers,
}: PlacementRequest): CellFacts => ({
  id: "cell-99",
  name: "perfect",
  tenantId: kinds.includes("hosted") ? NIL_UUID : tenantId,
  region,
  labels: Object.fromEntries(wanted),
  deleting: false,
  agent: { awaySinceMs: undefined, drivers: [...drivers] },
  capacity: { instances: 0, resources: {} },
  load: { instances: 0, resources: {} },
});

describe("whatever the cells, a decision", () => {
  it("never fills a cell or a pooled instance beyond its bound", () => {
    fc.assert(
      fc.property(world, (made) => {
        for (const decision of decisionsOf(made)) {
          if (decision.kind === "seat") {
            expect(decision.pool.seats).toBeLessThan(decision.pool.seatsMax);
          } else if (decision.kind !== "refused") {
            const { capacity, load } = decision.cell;
            if (capacity.instances > 0) expect(load.instances).toBeLessThan(capacity.instances);
            for (const [what, limit] of Object.entries(capacity.resources)) {
              const asked = made.request.asks[what];
              if (asked === undefined) continue;
              expect((load.resources[what] ?? 0) + asked).toBeLessThanOrEqual(limit);
            }
          }
        }
      }),
      RUNS,
    );
  });

  it("never picks another tenant's cell, one that leaves, or one of another region or label", () => {
    fc.assert(
      fc.property(world, (made) => {
        for (const decision of decisionsOf(made)) {
          if (decision.kind === "refused") continue;
          const { tenantId, region, deleting, labels: has } = decision.cell;
          expect([NIL_UUID, made.request.tenantId]).toContain(tenantId);
          expect(deleting).toBe(false);
          if (made.request.region !== "") expect(region).toBe(made.request.region);
          for (const [key, value] of made.request.labels) expect(has[key]).toBe(value);
        }
      }),
      RUNS,
    );
  });

  it("never runs an instance where the agent lacks a driver, is absent or is long away", () => {
    fc.assert(
      fc.property(world, (made) => {
        for (const decision of decisionsOf(made)) {
          if (decision.kind === "refused" || decision.kind === "seat") continue;
          expect(isServed(made.request, decision.cell)).toBe(true);
          expect(decision.cell.agent?.drivers).toEqual(
            expect.arrayContaining([...made.request.drivers]),
          );
        }
      }),
      RUNS,
    );
  });

  it("does not depend on the order of its input", () => {
    const mixed = world.chain((made) =>
      fc.record({
        made: fc.constant(made),
        other: fc.record({
          request: fc.constant(made.request),
          cells: shuffled(made.cells),
          pools: shuffled(made.pools),
          mayOpen: fc.constant(made.mayOpen),
        }),
      }),
    );
    fc.assert(
      fc.property(mixed, ({ made, other }) => {
        expect(decisionsOf(other)).toEqual(decisionsOf(made));
      }),
      RUNS,
    );
  });

  it("gives each cell exactly one reason when it refuses, the worst first", () => {
    fc.assert(
      fc.property(world, (made) => {
        const decision = placeInstance(made.request, made.cells);
        if (decision.kind !== "refused") return;
        const named = decision.refusals.map(({ id }) => id).sort();
        expect(named).toEqual(made.cells.map(({ id }) => id).sort());
        const ranks = decision.refusals.map(({ reason }) => REFUSAL_REASONS.indexOf(reason));
        expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
      }),
      RUNS,
    );
  });

  it("gives each pooled instance and, if one may be opened, each cell a reason when it refuses a seat", () => {
    fc.assert(
      fc.property(world, (made) => {
        const decision = placeSeat(made.request, made.cells, made.pools, made.mayOpen);
        if (decision.kind !== "refused") return;
        const expected = [...made.pools, ...(made.mayOpen ? made.cells : [])];
        expect(decision.refusals.map(({ id }) => id).sort()).toEqual(
          expected.map(({ id }) => id).sort(),
        );
      }),
      RUNS,
    );
  });

  it("does not fail because a cell that fits is added", () => {
    fc.assert(
      fc.property(world, (made) => {
        const wider = [...made.cells, perfect(made.request)];
        expect(placeInstance(made.request, wider).kind).toBe("cell");
        const pooled = { ...made.request, tenantId: NIL_UUID };
        const hosted = [...made.cells, perfect(pooled)];
        expect(placeSeat(pooled, hosted, made.pools, true).kind).not.toBe("refused");
      }),
      RUNS,
    );
  });

  it("never leaves a seat empty in a served instance to open another", () => {
    fc.assert(
      fc.property(world, (made) => {
        const decision = placeSeat(made.request, made.cells, made.pools, true);
        if (decision.kind !== "open") return;
        const alone = placeSeat(made.request, made.cells, made.pools, false);
        expect(alone.kind === "seat" && isServed(made.request, alone.cell)).toBe(false);
      }),
      RUNS,
    );
  });
});

const base: PlacementRequest = {
  tenantId: ACME,
  kinds: [],
  region: "",
  labels: [],
  drivers: ["process"],
  asks: { cpu: 2 },
  nowMs: NOW,
};
const good: CellFacts = { ...perfect(base), tenantId: NIL_UUID, id: "a", name: "a" };
const named = (name: string, change: Partial<CellFacts> = {}): CellFacts => ({
  ...good,
  id: name,
  name,
  ...change,
});
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
