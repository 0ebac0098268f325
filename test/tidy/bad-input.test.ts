/** The table of bad inputs on this checkout, and what its rule finds. */
import { describe, expect, it } from "vitest";
import { BAD_INPUT_TABLE, badInputProblems } from "./bad-input.ts";
import { readTree } from "./source.ts";

const test = { path: "a/b.test.ts", text: 'it("is refused, \\"x\\" too", () => {' };
const problemsOf = (...lines: readonly string[]) =>
  badInputProblems(
    [test, { path: BAD_INPUT_TABLE, text: ["row,clause,status,test", ...lines, ""].join("\n") }],
    [1],
  );

describe("the table of bad inputs", () => {
  it("names for each answer a test that is there", () => {
    expect(badInputProblems(readTree())).toEqual([]);
  });

  it("may leave to later what another part answers", () => {
    const quoted = '1,"a, b",done,"a/b.test.ts: is refused, \\""x\\"" too"';
    expect(problemsOf(quoted, "1,c,later: the engine,")).toEqual([]);
  });

  it.each([
    ["a title that is not there", "1,c,done,a/b.test.ts: is accepted", 'no test "is accepted"'],
    ["a file that is not there", "1,c,done,a/c.test.ts: is refused", "no test file a/c.test.ts"],
    ["a file without tests", "1,c,done,a/b.ts: is refused", "no test file a/b.ts"],
    ["another status", "1,c,maybe,a/b.test.ts: is refused", "status maybe"],
    ["later without a part", "1,c,later,", "status later"],
    ["a missing cell", "1,c,done", "3 cells"],
    ["a row that is due and left to later", "1,c,later: x,", "row 1 has no test"],
  ])("finds %s", (_, line, says) => {
    expect(problemsOf(line).join("\n")).toContain(says);
  });

  it("is missed when it is not there", () => {
    expect(badInputProblems([test])).toEqual([`${BAD_INPUT_TABLE}: it is missing`]);
  });
});
