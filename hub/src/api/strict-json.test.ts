/** Which JSON is refused before it is read, and that other text passes as it is. */
import { Fault } from "@holdfast/shared/fault.ts";
import { describe, expect, it } from "vitest";
import { JSON_DEPTH_MAX, strictJson } from "./strict-json.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function judged(input: Uint8Array): string {
  try {
    return strictJson.decode(input);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return `${error.code} ${error.reason}: ${error.message}`;
  }
}

const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

describe("JSON of a request", () => {
  it.each([
    ["a key twice", '{"a":1,"b":{"c":2}, "a" :3}', "the key a is there twice"],
    ["a key twice, once escaped", '{"a":1,"\\u0061":2}', "the key a is there twice"],
    ["__proto__ as a key", '{"x":[{"__proto__":{"admin":true}}]}', "__proto__"],
    ["__proto__ as an escaped key", '{"\\u005f_proto__":1}', "__proto__"],
    ["half of a surrogate pair", '{"a":"\\ud800"}', "half of a surrogate pair in \\ud800"],
    ["half of a surrogate pair as a key", '{"\\udc00x":1}', "half of a surrogate pair"],
    ["more than 100 levels", nested(JSON_DEPTH_MAX + 1), "the nesting limit"],
    ["a million levels", "[".repeat(1_000_000), "the nesting limit"],
  ])("is refused with %s", (_, text, says) => {
    expect(judged(bytes(text))).toContain(
      "INVALID_ARGUMENT REQUEST_MALFORMED: JSON of the request",
    );
    expect(judged(bytes(text))).toContain(says);
  });

  it("is refused when it is not UTF-8", () => {
    expect(judged(Uint8Array.of(0x7b, 0xc3, 0x28, 0x7d))).toContain("it is not UTF-8");
  });

  it.each([
    ["nothing at all", ""],
    ["the same key in two objects", '[{"a":1},{"a":{"a":2}}]'],
    ["braces and quotes within strings", '{"a":"}\\"{[","b":"\\\\","c":"a"}'],
    ["a value that is like a key", '{"a":"b","b":"__proto__"}'],
    ["both halves of a pair", '{"a":"\\ud83d\\ude00"}'],
    ["100 levels", nested(JSON_DEPTH_MAX)],
    ["what is no JSON", '}}{"a":"unfinished'],
  ])("passes unchanged with %s", (_, text) => {
    expect(judged(bytes(text))).toBe(text);
  });
});
