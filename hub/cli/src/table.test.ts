/** Tables: aligned, cut to the terminal, coloured only besides words. */
import { describe, expect, it } from "vitest";
import { ageOf, bytesText } from "./format.ts";
import { tableText } from "./table.ts";

const plain = { hasColor: false, columns: undefined };

describe("tableText", () => {
  it("aligns text to the left and numbers to the right, and leaves empty columns out", () => {
    const rows = [
      ["a", "", "5"],
      ["long", "-", "1234"],
    ];
    expect(tableText(plain, ["NAME", "EMPTY", "COUNT"], rows)).toBe(
      "NAME  COUNT\na         5\nlong   1234\n",
    );
  });

  it("cuts the last column to the terminal, and never where there is none", () => {
    const rows = [["a", "x".repeat(100)]];
    const cut = tableText({ hasColor: false, columns: 40 }, ["NAME", "WHY"], rows).split("\n")[1];
    expect(cut).toHaveLength(40);
    expect(cut?.endsWith("…")).toBe(true);
    expect(tableText(plain, ["NAME", "WHY"], rows)).toContain("x".repeat(100));
  });

  it("adds colour without changing a word", () => {
    const rows = [["a", { text: "NotReady", tone: "bad" as const }]];
    const colored = tableText({ hasColor: true, columns: undefined }, ["NAME", "STATE"], rows);
    expect(colored).toContain("\u001b[31mNotReady");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is removed
    expect(colored.replace(/\u001b\[\d+m/g, "")).toBe(tableText(plain, ["NAME", "STATE"], rows));
  });
});

describe("ageOf", () => {
  it.each([
    [0, "0s"],
    [119_000, "119s"],
    [120_000, "2m"],
    [7_199_000, "119m"],
    [7_200_000, "2h"],
    [172_800_000, "2d"],
    [-5_000, "0s"],
  ])("says of %i ms ago: %s", (ms, says) => {
    const now = Date.parse("2026-11-20T08:00:00Z");
    expect(ageOf(new Date(now - ms).toISOString(), now)).toBe(says);
  });

  it("says nothing of no time", () => {
    expect([ageOf(undefined, 0), ageOf("soon", 0)]).toEqual(["-", "-"]);
  });
});

describe("bytesText", () => {
  it("has one unit", () => {
    expect([500, 2_048, 3 * 1_048_576].map(bytesText)).toEqual(["500 B", "2.0 KiB", "3.0 MiB"]);
  });
});
