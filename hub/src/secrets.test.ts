/** Wrapping holds against another key, another name and damage; the key file is the owner's alone. */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readKeyFile, wrapperOf } from "./secrets.ts";

const directory = mkdtempSync(join(tmpdir(), "holdfast-secrets-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe("wrapperOf", () => {
  const wrapper = wrapperOf(randomBytes(32));
  const secret = Buffer.from("the agents' certificate authority");

  it("gives back what was wrapped", () => {
    expect(wrapper.unwrap("agent-ca", wrapper.wrap("agent-ca", secret))).toEqual(secret);
  });

  it("wraps the same secret differently each time and shows nothing of it", () => {
    const wrapped = Buffer.from(wrapper.wrap("agent-ca", secret));
    expect(wrapped.equals(wrapper.wrap("agent-ca", secret))).toBe(false);
    expect(wrapped.includes(secret)).toBe(false);
  });

  it.each([
    {
      it: "another key",
      open: (w: Uint8Array) => wrapperOf(randomBytes(32)).unwrap("agent-ca", w),
    },
    { it: "another name", open: (w: Uint8Array) => wrapper.unwrap("tickets", w) },
    {
      it: "a changed byte",
      open: (w: Uint8Array) => wrapper.unwrap("agent-ca", Buffer.from(w).fill(1, 40, 41)),
    },
    { it: "a cut text", open: (w: Uint8Array) => wrapper.unwrap("agent-ca", w.subarray(0, 20)) },
  ])("refuses $it", ({ open }) => {
    const wrapped = wrapper.wrap("agent-ca", secret);
    expect(() => open(wrapped)).toThrow(expect.objectContaining({ reason: "SECRET_UNREADABLE" }));
  });
});

describe("readKeyFile", () => {
  it("makes the file once, for the owner alone", () => {
    const path = join(directory, "made", "hub.key");
    const key = readKeyFile(path, true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readKeyFile(path, true)).toEqual(key);
  });

  it("refuses a file that others may read", () => {
    const path = join(directory, "open.key");
    readKeyFile(path, true);
    chmodSync(path, 0o644);
    expect(() => readKeyFile(path, true)).toThrow(
      expect.objectContaining({ reason: "KEY_FILE_MODE" }),
    );
  });

  it("makes nothing where it must not", () => {
    const read = () => readKeyFile(join(directory, "absent.key"), false);
    expect(read).toThrow(expect.objectContaining({ reason: "FILE_UNREADABLE" }));
  });
});
