/** Cycles are found whatever else is there, with the whole way; and who needs one. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { cycleThrough, needing } from "./dependencies.ts";

const graph = (edges: Readonly<Record<string, readonly string[]>>) =>
  Object.entries(edges).map(([id, needs]) => ({ id, needs }));

it.each([
  ["none", { a: ["b"], b: ["c"] }, undefined],
  ["one that needs itself", { a: ["a"] }, ["a", "a"]],
  ["two", { a: ["b"], b: ["a"] }, ["a", "b", "a"]],
  [
    "four, past a dead end",
    { a: ["x", "b"], b: ["c"], c: ["d"], d: ["a"], x: [] },
    ["a", "b", "c", "d", "a"],
  ],
  ["one that is not its own", { a: ["b"], b: ["c"], c: ["b"] }, undefined],
])("finds a cycle of %s", (_, edges, way) => {
  expect(cycleThrough("a", graph(edges))).toEqual(way);
});

it("names who needs it", () => {
  const all = graph({ a: ["c"], b: ["c", "a"], c: [] });
  expect(needing("c", all).map(({ id }) => id)).toEqual(["a", "b"]);
  expect(needing("b", all)).toEqual([]);
});

it("ends, and gives a way whose every step is there", () => {
  const id = fc.constantFrom("a", "b", "c", "d", "e");
  const all = fc.array(fc.record({ id, needs: fc.array(id, { maxLength: 4 }) }), { maxLength: 5 });
  fc.assert(
    fc.property(all, (given) => {
      const known = [...new Map(given.map((each) => [each.id, each])).values()];
      const way = cycleThrough("a", known);
      for (const [n, from] of (way ?? []).slice(0, -1).entries()) {
        expect(known.find((each) => each.id === from)?.needs).toContain(way?.[n + 1]);
      }
    }),
  );
});
