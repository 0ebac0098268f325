/** What foreign text looks like in a message: bounded, visible, and fit for any wire. */
import { describe, expect, it } from "vitest";
import { cut, shown } from "./text.ts";

describe("a foreign value in a message", () => {
  it("shows control characters, bidirectional ones and halves of surrogate pairs", () => {
    expect(shown("a\0b\u001b]52;\u202e\ud800")).toBe("a\\u0000b\\u001b]52;\\u202e\\ud800");
    expect(shown("\u{1f600}")).toBe("\u{1f600}");
  });

  it("is cut at 80 characters, never in the middle of one", () => {
    expect(shown("x".repeat(81))).toBe(`${"x".repeat(80)}…`);
    const split = shown(`${"x".repeat(79)}\u{1f600}y`);
    expect(split).toBe(`${"x".repeat(79)}…`);
    expect(split.isWellFormed()).toBe(true);
  });
});

describe("a text that is cut", () => {
  it("stays as it is up to its limit", () => {
    expect(cut("four", 4)).toBe("four");
    expect(cut("fives", 4)).toBe("five…");
  });
});
