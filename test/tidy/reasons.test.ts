/** Every reason with which our programs refuse something is explained, and nothing is explained that is no reason. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { faultReasons } from "./fault-reasons.ts";
import { isTest, parseSource, parseSources, ROOT, readTree } from "./source.ts";

const TABLE = "hub/cli/src/reasons.json";
const PROGRAM = /^(hub|agent|shared|sim)\//;
const tree = readTree();
const explained: Readonly<Record<string, Readonly<{ cause: string; next: string }>>> = JSON.parse(
  readFileSync(join(ROOT, TABLE), "utf8"),
);

describe("reasons", () => {
  it("are all explained", () => {
    const programs = tree.filter(({ path }) => PROGRAM.test(path) && !isTest(path));
    const missing = [...faultReasons(parseSources(programs))]
      .filter(([reason]) => !(reason in explained))
      .map(([reason, place]) => `${place}: ${reason} has no line in ${TABLE} (cause and next)`);
    expect(missing).toEqual([]);
  });

  it("are used where they are explained", () => {
    const programs = tree.filter(({ path }) => /^(hub|agent|shared|sim)\/.*\.ts$/.test(path));
    const text = programs.map((each) => each.text).join("\n");
    expect(Object.keys(explained).filter((reason) => !text.includes(`"${reason}"`))).toEqual([]);
  });

  it("have a sentence each, and stand in their order", () => {
    for (const { cause, next } of Object.values(explained)) {
      expect(cause).toMatch(/^\S.{10,}[.]$/);
      expect(next).toMatch(/^\S.*[^.]$/);
    }
    expect(Object.keys(explained)).toEqual(Object.keys(explained).toSorted());
  });
});

describe("faultReasons", () => {
  const reasonsIn = (...lines: string[]) => [
    ...faultReasons([parseSource("hub/src/a.ts", lines.join("\n"))]).keys(),
  ];

  it.each([
    ["of a fault", 'throw new Fault("INTERNAL", "PLAIN_ONE", "text");', ["PLAIN_ONE"]],
    ["that is chosen", 'throw new Fault(code, isA ? "THE_A" : "THE_B", m);', ["THE_A", "THE_B"]],
    [
      "handed through functions",
      'const no = (m, reason) => new Fault("X", reason, m); function nope(r) { throw no("", r); } nope("DEEP_ONE");',
      ["DEEP_ONE"],
    ],
    [
      "of a private method",
      'class A { #no(r) { throw new Fault("X", r, ""); } f() { this.#no("OWN_ONE"); } }',
      ["OWN_ONE"],
    ],
    ["in a table of reasons", 'const REASON = { late: "TOO_LATE" } as const;', ["TOO_LATE"]],
    ["but no other word", 'log("NOT_THIS"); new Other("X", "NOR_THIS");', []],
  ])("finds a reason %s", (_, code, reasons) => {
    expect(reasonsIn(code)).toEqual(reasons);
  });
});
