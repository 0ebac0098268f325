/** The order of dependencies, and cycles that are really there. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { orderOf } from "./graph.ts";

const graph = fc
  .array(fc.array(fc.nat(9), { maxLength: 3 }), { maxLength: 10 })
  .map((needs) => new Map(needs.map((each, i) => [`n${i}`, each.map((to) => `n${to}`)])));

describe("orderOf", () => {
  it("gives either an order that respects every need, or a cycle that exists", () => {
    fc.assert(
      fc.property(graph, (needs) => {
        const ordering = orderOf(needs);
        if ("cycle" in ordering) {
          const { cycle } = ordering;
          expect(cycle.length).toBeGreaterThan(1);
          expect(cycle[0]).toBe(cycle.at(-1));
          expect(new Set(cycle).size).toBe(cycle.length - 1);
          for (const [i, node] of cycle.slice(0, -1).entries()) {
            expect(needs.get(node)).toContain(cycle[i + 1]);
          }
          return;
        }
        expect([...ordering.order].sort()).toEqual([...needs.keys()].sort());
        for (const [node, each] of needs) {
          for (const needed of each.filter((name) => needs.has(name))) {
            expect(ordering.order.indexOf(needed)).toBeLessThan(ordering.order.indexOf(node));
          }
        }
      }),
    );
  });

  it("finds a node that needs itself, and a ring of fifty", () => {
    expect(orderOf(new Map([["a", ["a"]]]))).toEqual({ cycle: ["a", "a"] });
    const ring = new Map(Array.from({ length: 50 }, (_, i) => [`n${i}`, [`n${(i + 1) % 50}`]]));
    const ordering = orderOf(ring);
    expect("cycle" in ordering && ordering.cycle).toHaveLength(51);
  });

  it("keeps the given order where any would do, and measures the longest chain", () => {
    const needs = new Map([
      ["c", []],
      ["a", ["b"]],
      ["b", []],
    ]);
    expect(orderOf(needs)).toEqual({ order: ["c", "b", "a"], depth: 2 });
  });
});
