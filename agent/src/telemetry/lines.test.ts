/** What a log may hold, and what becomes of it: long lines, binary, escape sequences, secrets. */
import { describe, expect, it } from "vitest";
import { LINE_BYTES_MAX, LINE_CHARS_MAX, type OpenLine, splitLines } from "./lines.ts";

const options = { open: undefined, isEnd: false, linesMax: 1_000, redact: (line: string) => line };
const textsOf = (data: string | Buffer, more = {}) =>
  splitLines(Buffer.from(data), { ...options, ...more }).lines.map(({ text }) => text);

/** As a reader does: pieces of this size, and again what was not used. */
function inPieces(data: Buffer, size: number) {
  const lines: { text: string; cutBytes: number }[] = [];
  let open: OpenLine | undefined;
  let at = 0;
  for (let length = size; at < data.length; ) {
    const isEnd = at + length >= data.length;
    const split = splitLines(data.subarray(at, at + length), { ...options, open, isEnd });
    lines.push(...split.lines.map(({ text, cutBytes }) => ({ text, cutBytes })));
    open = split.open;
    at += split.used;
    length = split.used === 0 ? length + size : size;
  }
  return lines;
}

describe("lines of a log", () => {
  it("are whole lines; what has no end yet waits for it", () => {
    const split = splitLines(Buffer.from("one\ntwo\r\nthr"), options);
    expect(split.lines.map(({ text, end }) => [text, end])).toEqual([
      ["one", 4],
      ["two", 9],
    ]);
    expect(split.used).toBe(9);
    expect(textsOf("thr", { isEnd: true })).toEqual(["thr"]);
  });

  it.each([1, 7, 4_096, 100_000])("are the same however they are read: pieces of %i", (size) => {
    const long = "x".repeat(60_000);
    const data = Buffer.from(`a\n\n${long}\nsecond\n${"ü".repeat(20)}\nlast`);
    expect(inPieces(data, size)).toEqual(
      ["a", "", "x".repeat(LINE_BYTES_MAX), "second", "ü".repeat(20), "last"].map((text) => ({
        text,
        cutBytes: text.length === LINE_BYTES_MAX ? 60_000 - LINE_BYTES_MAX : 0,
      })),
    );
  });

  it("of 10 MiB are cut, and say by how much", () => {
    const size = 10 * 1024 * 1024;
    const data = Buffer.concat([Buffer.alloc(size, "y"), Buffer.from("\nnext\n")]);
    const [first, second] = inPieces(data, 1024 * 1024);
    expect(first?.text).toBe("y".repeat(LINE_BYTES_MAX));
    expect(first?.cutBytes).toBe(size - LINE_BYTES_MAX);
    expect(second).toEqual({ text: "next", cutBytes: 0 });
  });

  it.each([
    { it: "colours", data: "\u001b[31mred\u001b[0m", text: "\\u001b[31mred\\u001b[0m" },
    { it: "OSC-52", data: "\u001b]52;c;aGk=\u0007", text: "\\u001b]52;c;aGk=\\u0007" },
    { it: "NUL and backspace", data: "a\u0000b\b", text: "a\\u0000b\\u0008" },
    { it: "8-bit controls", data: "\u009b31m", text: "\\u009b31m" },
    { it: "writing from right to left", data: "\u202egnp.exe", text: "\\u202egnp.exe" },
    { it: "tabs, which stay", data: "a\tb", text: "a\tb" },
  ])("come escaped: $it", ({ data, text }) => {
    expect(textsOf(`${data}\n`)).toEqual([text]);
  });

  it("that are binary stay within their bounds", () => {
    const data = Buffer.from(Array.from({ length: 30_000 }, (_, n) => (n % 10 === 9 ? 1 : n % 8)));
    for (const text of textsOf(data, { isEnd: true })) {
      expect(text.length).toBeLessThanOrEqual(LINE_CHARS_MAX);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
      expect(text).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
    }
  });

  it("hold no secret, not even where one begins before the cut", () => {
    const secret = "s3cr3t-value-of-some-length";
    const redact = (line: string) => line.replaceAll(secret, "[redacted]");
    const data = `${"z".repeat(LINE_BYTES_MAX - 5)}${secret} and more\n${secret}\n`;
    const [cut, whole] = textsOf(data, { redact });
    expect(cut).not.toContain("s3cr3");
    expect(whole).toBe("[redacted]");
  });
});
