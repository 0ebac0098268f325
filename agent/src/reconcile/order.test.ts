/** Order of resources, for any graph without cycles: everything comes once, and after all that it needs. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inDependencyOrder } from "./order.ts";

/** Each node may need those with a smaller number; then shuffled, so that declaration order says nothing. */
const graphs = fc
  .array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 20 })
  .map((needs) =>
    needs.map((picks, n) => ({
      id: `r${n}`,
      needs: n === 0 ? [] : [...new Set(picks.map((pick) => `r${pick % n}`))],
    })),
  )
  .chain((nodes) => fc.shuffledSubarray(nodes, { minLength: nodes.length }));

const seed = Number(process.env["HOLDFAST_TEST_SEED"] ?? 1);

describe("inDependencyOrder", () => {
  it("puts everything once and after what it needs", () => {
    fc.assert(
      fc.property(graphs, (nodes) => {
        const ordered = inDependencyOrder(nodes, ({ needs }) => needs).map(({ id }) => id);
        expect([...ordered].sort()).toEqual(nodes.map(({ id }) => id).sort());
        for (const { id, needs } of nodes) {
          for (const need of needs) {
            expect(ordered.indexOf(need)).toBeLessThan(ordered.indexOf(id));
          }
        }
      }),
      { seed },
    );
  });

  it("keeps the order of declaration where nothing says otherwise", () => {
    const nodes = ["c", "a", "b"].map((id) => ({ id }));
    expect(inDependencyOrder(nodes, () => [])).toEqual(nodes);
  });

  it("names those that wait for each other", () => {
    const nodes = [{ id: "a" }, { id: "b" }];
    const needs = ({ id }: { id: string }) => (id === "a" ? ["b"] : ["a"]);
    expect(() => inDependencyOrder(nodes, needs)).toThrow("a, b");
  });
});
