/** Values of parameters against the release's schema and the plan's locks. */
import { describe, expect, it } from "vitest";
import { compiledWith, violationsOf } from "./blueprint.fixture.ts";
import { checkParameterSchema, resolveParameters } from "./parameters.ts";

const blueprint = compiledWith();
const plan = { parameters: { batchRows: 100 }, lockedParameters: ["batchRows"] };
const open = { lockedParameters: [] };

describe("resolveParameters", () => {
  it("puts given values over the plan's over the defaults", () => {
    expect(resolveParameters(blueprint, open, { source: "a" })).toEqual({
      source: "a",
      batchRows: 500,
      password: "none",
    });
    const free = { ...plan, lockedParameters: [] };
    expect(resolveParameters(blueprint, free, { source: "a", batchRows: 7 })["batchRows"]).toBe(7);
    expect(resolveParameters(blueprint, plan, { source: "a" })["batchRows"]).toBe(100);
  });

  it("leaves what it was given as it was", () => {
    const given = { source: "a" };
    resolveParameters(blueprint, open, given);
    expect(given).toEqual({ source: "a" });
  });

  it("refuses another value where the plan locks one, and takes the same", () => {
    const resolve = (batchRows: number) => () =>
      resolveParameters(blueprint, plan, { source: "a", batchRows });
    expect(violationsOf(resolve(7))).toEqual([
      "parameters.batchRows: locked by the plan; got 7; allowed: 100",
    ]);
    expect(violationsOf(resolve(100))).toEqual([]);
  });

  it.each([
    [{}, "parameters.source: required"],
    [{ source: 5 }, "parameters.source: got 5; allowed: string"],
    [{ source: "a", batchRows: "5" }, "parameters.batchRows: got 5; allowed: integer"],
    [{ source: "a", batchRows: 0 }, "parameters.batchRows: got 0; allowed: >= 1"],
    [
      { source: "a", batchRow: 1 },
      "parameters.batchRow: unknown parameter; did you mean batchRows?",
    ],
    [JSON.parse('{"source": "a", "__proto__": {"x": 1}}'), "unknown parameter"],
  ])("refuses %j", (given, says) => {
    expect(violationsOf(() => resolveParameters(blueprint, open, given)).join()).toContain(says);
  });

  it("names all problems at once and never shows a value that is declared writeOnly", () => {
    const found = violationsOf(() =>
      resolveParameters(blueprint, open, { password: 77_777, x: 1 }),
    );
    expect(found).toHaveLength(3);
    expect(found.join()).not.toContain("77777");
  });

  it("refuses what is none of the values that are listed", () => {
    const parameters = { type: "object", properties: { tier: { enum: ["small", "large"] } } };
    expect(violationsOf(() => resolveParameters({ parameters }, open, { tier: "huge" }))).toEqual([
      "parameters.tier: got huge; allowed: small, large",
    ]);
    expect(resolveParameters({ parameters }, open, { tier: "large" })).toEqual({ tier: "large" });
  });

  it("takes a pattern in a time that grows with the text only", () => {
    const parameters = {
      type: "object",
      properties: { a: { type: "string", pattern: "^(a+)+$" } },
    };
    expect(checkParameterSchema(parameters, "parameters")).toEqual([]);
    const given = { a: `${"a".repeat(50_000)}!` };
    const found = violationsOf(() => resolveParameters({ parameters }, open, given));
    expect(found).toHaveLength(1);
  });
});
