/** Where instances and seats go: what never happens, whatever the cells. Repeats with HOLDFAST_TEST_SEED. */
import { env } from "node:process";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACME, GLOBEX, NOW, perfect } from "./placement.test-world.ts";
import {
  CELL_AWAY_MS_MAX,
  type CellFacts,
  isServed,
  type PlacementRequest,
  type PoolFacts,
  placeInstance,
  placeSeat,
  REFUSAL_REASONS,
} from "./placement.ts";

const RUNS = { seed: Number(env["HOLDFAST_TEST_SEED"] ?? 1), numRuns: 500 };

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
