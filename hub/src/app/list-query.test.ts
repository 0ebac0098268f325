/** Which filters and orders are read, and that all others are refused with the rule. */
import { describe, expect, it } from "vitest";
import { filterOf, orderOf } from "./list-query.ts";

/** The statement's part and its values. */
function sqlOf(text: string) {
  const values: unknown[] = [];
  const { conditions, labels } = filterOf(text);
  const sql = conditions.map((condition) => condition((value) => `$${values.push(value)}`));
  return { sql, values, labels };
}

describe("a filter", () => {
  it("is made of terms, whose values are bound", () => {
    const text =
      ' name : "et\\"l" AND labels.tier="gold" AND create_time >= "2026-11-20T00:00:00Z" ';
    expect(sqlOf(text)).toEqual({
      sql: ["strpos(t.name, $1) > 0", "t.created_at >= $2"],
      values: ['et"l', new Date("2026-11-20T00:00:00Z")],
      labels: { tier: "gold" },
    });
    expect(sqlOf("  ")).toEqual({ sql: [], values: [], labels: {} });
    expect(sqlOf('labels.a.b/c = "x y"').labels).toEqual({ "a.b/c": "x y" });
  });

  it.each([
    ["SQL", "' OR 1=1 --"],
    ["SQL behind a term", `name = "a" OR 1=1`],
    ["an unknown field", 'tenant_id = "a"'],
    ["a field of labels without a key", 'labels = "a"'],
    ["a key of another field", 'name.x = "a"'],
    ["an operator that the field has not", 'name > "a"'],
    ["an equal time", 'create_time = "2026-11-20T00:00:00Z"'],
    ["a time that is none", 'create_time > "yesterday"'],
    ["a time that is no day", 'create_time > "2026-13-40T00:00:00Z"'],
    ["a value without quotes", "name = a"],
    ["a value without an end", 'name = "a'],
    ["a control character", 'name = "a\u0000b"'],
    ["nothing behind AND", 'name = "a" AND '],
    ["a label twice", 'labels.a = "1" AND labels.a = "2"'],
    ["too many terms", Array(17).fill('name = "a"').join(" AND ")],
    ["a pattern of 10^5", "%".repeat(100_000)],
    ["a regular expression", "(a+)+$"],
  ])("of %s is refused with the rule", (_, text) => {
    expect(() => filterOf(text)).toThrow(
      expect.objectContaining({
        reason: "FILTER_INVALID",
        message: expect.stringMatching(/^filter: .{1,200}; allowed: name \(= or :\)/),
      }),
    );
  });

  it("that contradicts the labels of the request is refused", () => {
    expect(() => filterOf('labels.a = "1"', { a: "2" })).toThrow("labels.a is there twice");
  });
});

describe("an order", () => {
  it.each([
    ["", "name", false],
    ["name", "name", false],
    [" name  desc ", "name", true],
    ["create_time", "create_time", false],
    ["create_time desc", "create_time", true],
  ])("%j is by %s, descending: %s", (text, by, descending) => {
    expect(orderOf(text)).toEqual({ by, descending });
  });

  it.each(["tenant_id", "name asc", "name, create_time", "name desc; drop table instance", "NAME"])(
    "%j is refused with the rule",
    (text) => {
      expect(() => orderOf(text)).toThrow(
        /^order_by: got .+; allowed: name, name desc, create_time/,
      );
    },
  );
});
