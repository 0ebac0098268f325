/** What a transcript may leave open, and what not. */
import { describe, expect, it } from "vitest";
import { commandsOf, masked } from "./transcript.ts";

describe("commandsOf", () => {
  it("takes each command of each console block with its whole output", () => {
    const text =
      "# T\n```console\n$ a b\none\n\ntwo\n$ c\n```\ntext\n```sh\n$ not this\n```\n```console\n$ d\n```\n";
    expect(commandsOf(text)).toEqual([
      { command: "a b", output: "one\n\ntwo\n" },
      { command: "c", output: "" },
      { command: "d", output: "" },
    ]);
  });
});

describe("masked", () => {
  it("leaves open ids, times and ports", () => {
    const a =
      "ins_0123456789abcdef0123456789abcdef  1.5s  at 127.0.0.1:7400, 2026-11-20T18:00:00.123Z 12 ms\n";
    const b =
      "ins_ffffffffffffffffffffffffffffffff  200s at 127.0.0.1:17400, 2027-01-01T00:00:00Z 1 ms\n";
    expect(masked(a)).toBe(masked(b));
  });

  it.each([
    ["etl-free  1.0.0  Ready", "etl-free  1.1.0  Ready"],
    ["Ready", "NotReady"],
    ["instance/etl changed", "instance/etl unchanged"],
    ["500 rows", "501 rows"],
    ["one\ntwo", "one"],
  ])("tells %j from %j", (a, b) => {
    expect(masked(a)).not.toBe(masked(b));
  });
});
