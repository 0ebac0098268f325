/** What strict YAML accepts, what it refuses, and where it says the problem is. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "./fault.ts";
import { parseYaml, parseYamlDocuments, YAML_ALIASES_MAX, YAML_BYTES_MAX } from "./yaml.ts";

function problemsOf(text: string): readonly string[] {
  try {
    parseYaml(text, "x.yaml");
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect([error.code, error.reason]).toEqual(["INVALID_ARGUMENT", "YAML_INVALID"]);
    return error.violations.map(({ path, message }) => `${path} ${message}`);
  }
  return [];
}

function bomb(levels: number, width: number): string {
  const line = (i: number) => `a${i + 1}: &a${i + 1} [${Array(width).fill(`*a${i}`).join(", ")}]`;
  return ["a0: &a0 [x]", ...Array.from({ length: levels }, (_, i) => line(i))].join("\n");
}

describe("parseYaml", () => {
  it.each([
    { it: "a tab as indentation", text: "a:\n\tb: 1\n", at: "x.yaml:2:1", says: "Tabs" },
    { it: "a duplicate key", text: "a: 1\nb: 2\na: 3", at: "x.yaml:3:1", says: "a is there twice" },
    { it: "a duplicate key in JSON", text: '{"a":1,\n"a":2}', at: "x.yaml:2:1", says: "twice" },
    { it: "a second document", text: "a: 1\n---\nb: 2", at: "x.yaml:3:1", says: "allowed: one" },
    { it: "a custom tag", text: "a: !vault x", at: "x.yaml:1:11", says: "tags are not allowed" },
    { it: "a core tag", text: "a: !!int '3'", at: "x.yaml:1:10", says: "tags are not allowed" },
    { it: "a directive", text: "%YAML 1.1\n---\na: yes", at: "x.yaml:1:1", says: "directives" },
    { it: "an alias bomb", text: bomb(10, 10), at: "x.yaml:6:", says: "aliases are limited to 50" },
    { it: "a bomb within 50 aliases", text: bomb(10, 5), at: "x.yaml:8:", says: "once expanded" },
    { it: "an alias to itself", text: "a: &a [*a]", at: "x.yaml:1:8", says: "no complete anchor" },
    { it: "a merge key", text: "a: &x {b: 1}\nc:\n  <<: *x", at: "x.yaml:3:3", says: "merge" },
    { it: "nesting in flow style", text: "[".repeat(5000), at: "x.yaml:1:102", says: "100 levels" },
    { it: "__proto__", text: '{"__proto__": {"x": 1}}', at: "x.yaml:1:2", says: "reserved" },
    { it: "half a surrogate pair", text: '"\\ud800"', at: "x.yaml:1:1", says: "surrogate" },
    { it: "a list as a key", text: "? [a]\n: 1", at: "x.yaml:1:3", says: "keys must be strings" },
    { it: "an open bracket", text: "a: [1, 2\nb: 3", at: "x.yaml:2:1", says: "end with a ]" },
    { it: "a leading zero", text: "a: 010", at: "x.yaml:1:4", says: "ambiguous number" },
    { it: "a hexadecimal number", text: "a: 0x10", at: "x.yaml:1:4", says: "ambiguous number" },
    { it: "an octal number", text: "a: 0o7", at: "x.yaml:1:4", says: "ambiguous number" },
    { it: "not-a-number", text: "a: .nan", at: "x.yaml:1:4", says: "ambiguous number" },
    { it: "a number beyond doubles", text: "a: 1e999", at: "x.yaml:1:4", says: "too large" },
    {
      it: "an integer that would be rounded",
      text: "a: 9007199254740993",
      at: "x.yaml:1:4",
      says: "quote",
    },
  ])("refuses $it with line:column", ({ text, at, says }) => {
    const [first] = problemsOf(text);
    expect(first).toContain(at);
    expect(first).toContain(says);
  });

  it("allows 50 aliases and refuses the next one", () => {
    const text = (count: number) => `a: &a x\nb: [${Array(count).fill("*a").join(", ")}]`;
    expect(problemsOf(text(YAML_ALIASES_MAX))).toEqual([]);
    expect(problemsOf(text(YAML_ALIASES_MAX + 1))[0]).toMatch(/aliases are limited to 50$/);
  });

  it("refuses more than 1 MiB without parsing it", () => {
    expect(problemsOf("a".repeat(YAML_BYTES_MAX + 1))[0]).toContain("1048577 bytes");
    expect(problemsOf(`"${"a".repeat(YAML_BYTES_MAX - 2)}"`)).toEqual([]);
  });

  it("names all problems at once, and at most 20", () => {
    expect(problemsOf("a: 010\nb: 0x1\na: 1")).toHaveLength(3);
    expect(problemsOf(Array(50).fill("- 010").join("\n"))).toHaveLength(20);
  });

  it("reads the words of YAML 1.1 as text", () => {
    const value = parseYaml("a: yes\nb: off\nc: 1_000\nd: 12:30:45\ne: 2026-11-20", "x");
    expect(value).toEqual({ a: "yes", b: "off", c: "1_000", d: "12:30:45", e: "2026-11-20" });
  });

  it("keeps `constructor` an ordinary key and leaves prototypes alone", () => {
    const value = parseYaml('{"constructor": {"prototype": {"polluted": 1}}}', "x");
    expect(Object.keys(value as object)).toEqual(["constructor"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("reads JSON that is indented by tabs", () => {
    expect(parseYaml('{\n\t"a": [1,\n\t\t2]\n}', "x")).toEqual({ a: [1, 2] });
  });

  it("takes a map of 100 000 keys in a time that grows with its size only", () => {
    const keys = Array.from({ length: 100_000 }, (_, i) => `k${i}:`).join("\n");
    expect(Object.keys(parseYaml(keys, "x") as object)).toHaveLength(100_000);
  });

  it("reads back every JSON value", () => {
    const number = fc.oneof(
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    );
    const key = fc.string().filter((text) => text !== "__proto__" && text !== "<<");
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constantFrom(null, true, false),
        number.filter((each) => !Number.isInteger(each) || Number.isSafeInteger(each)),
        fc.string({ unit: "grapheme" }),
        fc.array(tie("any"), { maxLength: 5 }),
        fc.dictionary(key, tie("any"), { maxKeys: 5, noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(value, (each) => {
        const text = JSON.stringify(each);
        expect(JSON.stringify(parseYaml(text, "x"))).toBe(text);
      }),
    );
  });

  it("answers any text with a value or a fault", () => {
    const piece = fc.constantFrom(
      "a",
      ":",
      " ",
      "\n",
      "\t",
      "-",
      "&a",
      "*a",
      "[",
      "]",
      "{",
      "}",
      "|",
      "'",
      "#",
      "!",
      "?",
      ",",
      "0",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        problemsOf(pieces.join(""));
      }),
    );
  });
});

describe("parseYamlDocuments", () => {
  it("gives each document with the line it starts on, and leaves empty ones out", () => {
    const read = parseYamlDocuments("---\na: 1\n---\n# nothing\n---\nb: 2\n", "x");
    expect(read).toEqual([
      { value: { a: 1 }, line: 2 },
      { value: { b: 2 }, line: 6 },
    ]);
  });

  it("does not carry anchors over to the next document", () => {
    expect(() => parseYamlDocuments("a: &a 1\n---\nb: *a", "x")).toThrow("no complete anchor");
  });

  it("gives nothing for an empty text", () => {
    expect(parseYamlDocuments("# only a comment\n", "x")).toEqual([]);
  });
});
