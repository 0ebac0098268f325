/** The file of headers: what it may hold, who may read it, and that its secrets are never repeated. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { headersOf, readHeaders } from "./headers-file.ts";

const folder = mkdtempSync(join(tmpdir(), "hf-otlp-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fileOf = (text: string, mode = 0o600) => {
  const path = join(folder, "headers");
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};

describe("the file of headers", () => {
  it("has a header on each line", () => {
    const text = "# of the collector\nAuthorization: Bearer abc:def\n\r\n  x-scope : acme\r\n";
    expect(readHeaders(fileOf(text))).toEqual({
      authorization: "Bearer abc:def",
      "x-scope": "acme",
    });
  });

  it.each([
    { it: "no colon", text: "ok: 1\nBearer s3cret" },
    { it: "no name", text: "ok: 1\n: s3cret" },
    { it: "no value", text: "ok: 1\nauthorization:" },
    { it: "a character that ends a header", text: "ok: 1\nx: s3cret\0" },
    { it: "a letter beyond ASCII", text: "ok: 1\nx: s3crét" },
    { it: "a name with a blank", text: "ok: 1\nx y: s3cret" },
  ])("with $it is refused by its line, and nothing of it is repeated", ({ text }) => {
    const read = () => headersOf(text, "/etc/headers");
    expect(read).toThrow("/etc/headers: line 2: not of this form; allowed: name: value");
  });

  it("sets nothing of the request itself", () => {
    expect(() => headersOf("Content-Encoding: br", "f")).toThrow("is set by the hub itself");
  });

  it("is bounded", () => {
    expect(() => readHeaders(fileOf("x: y\n".repeat(33)))).toThrow(
      "33 headers; allowed: at most 32",
    );
    expect(() => readHeaders(fileOf(`x: ${"y".repeat(20_000)}`))).toThrow("at most 16384 bytes");
    expect(() => readHeaders("/dev/zero")).toThrow("has mode");
  });

  it("is closed to others, and is there", () => {
    expect(() => readHeaders(fileOf("x: y", 0o640))).toThrow("has mode 0640; allowed: 0600");
    expect(() => readHeaders(join(folder, "none"))).toThrow(/none: no such file/);
  });
});
