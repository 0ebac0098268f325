/** Text with references: what it means, what is refused, and that no name reaches a prototype. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax of expressions
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  lookUp,
  type Part,
  parseTemplate,
  printTemplate,
  referencesOf,
  wholeReference,
} from "./expression.ts";

const reference = fc
  .constantFrom("params.a", "facts.b.c", "resources.x-1.outputs.ports.http", "secrets.s")
  .map((inner): Part => {
    const [root, ...names] = inner.split(".") as ["params", ...string[]];
    return { root, names, text: `\${${inner}}` };
  });
const literal = fc
  .array(fc.constantFrom("$", "{", "}", "a", "${", "{{x}}", "$(id)", "%s%n", " "), { maxLength: 6 })
  .map((pieces) => pieces.join(""));

function merged(parts: readonly Part[]): readonly Part[] {
  const all: Part[] = [];
  for (const part of parts) {
    const last = all.at(-1);
    if (part === "") continue;
    if (typeof part === "string" && typeof last === "string") all[all.length - 1] = last + part;
    else all.push(part);
  }
  return all.length === 0 ? [""] : all;
}

describe("parseTemplate", () => {
  it("reads back whatever parts were printed", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(literal, reference), { maxLength: 8 }), (given) => {
        const parts = merged(given);
        expect(parseTemplate(printTemplate({ parts }))).toEqual({ parts });
      }),
    );
  });

  it("takes any text without a reference as the characters that it is", () => {
    for (const text of [
      '{{constructor.constructor("x")()}}',
      "$(id)",
      "`id`; rm -rf / && x",
      "%s%n",
      "a$b$",
      "$",
    ]) {
      expect(parseTemplate(text)).toEqual({ parts: [text] });
    }
  });

  it.each([
    ["${process.env}", "begins with no known name"],
    ["${param.x}", "did you mean params?"],
    ["${params}", "is not of the form ${params.NAME}"],
    ["${params.}", "is not of the form"],
    ["${params['x']}", "begins with no known name"],
    ["${params.x()}", "is not of the form"],
    ["${1+1}", "begins with no known name"],
    ["${resources.a.ports}", "is not of the form ${resources.ID.outputs.NAME}"],
    ["${secrets.a.b}", "is not of the form ${secrets.NAME}"],
    ["${params.a.b.c.d.e.f.g.h.i}", "expansion limit 1 MiB / depth 8"],
    ["a ${params.x", "without }"],
    ["${params.a${params.b}}", "is not of the form"],
  ])("refuses %s", (text, says) => {
    expect(parseTemplate(text)).toEqual({ problem: expect.stringContaining(says) });
  });

  it("knows a text that is one reference from one that contains it", () => {
    const isWhole = (text: string) => {
      const template = parseTemplate(text);
      return "parts" in template && wholeReference(template) !== undefined;
    };
    expect(
      ["${params.a}", " ${params.a}", "${params.a}${params.b}", "$${params.a}"].map(isWhole),
    ).toEqual([true, false, false, false]);
  });

  it("answers any text with parts or a problem", () => {
    fc.assert(
      fc.property(literal, literal, (a, b) => {
        const template = parseTemplate(`${a}\${params.x}${b}`);
        if ("parts" in template) expect(referencesOf(template).length).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("lookUp", () => {
  it("never gives what is not an own property of plain data", () => {
    const inherited = [
      "constructor",
      "__proto__",
      "toString",
      "prototype",
      "length",
      "hasOwnProperty",
    ];
    const names = fc.array(fc.constantFrom("a", "b", ...inherited), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom("a", "b") }), names, (data, path) => {
        const found = lookUp(JSON.parse(JSON.stringify(data)), path);
        expect(typeof found).not.toBe("function");
        if (path.some((name) => inherited.includes(name))) expect(found).toBeUndefined();
      }),
    );
  });
});
