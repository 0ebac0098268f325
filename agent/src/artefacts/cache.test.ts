/** Content is used only if it is what the release names, and an archive only writes into its own directory. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { type Header, pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ArtefactCache } from "./cache.ts";

type TarEntry = Partial<Header> & Readonly<{ name: string; content?: string }>;

async function tarOf(...entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content, ...header } of entries) {
    if (content === undefined) tar.entry({ ...header, size: 0 }).end(null);
    else tar.entry(header, content);
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

let stateDir: string;
let asked: bigint[];
/** Bytes that the hub gives before the link breaks. */
let breaksAfter: number;
const blobs = new Map<string, Buffer>();

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "holdfast-cache-"));
  asked = [];
  breaksAfter = Number.POSITIVE_INFINITY;
  blobs.clear();
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

function cache(): ArtefactCache {
  return new ArtefactCache(stateDir, {
    async *fetchArtefact(digest, offset) {
      asked.push(offset);
      const bytes = blobs.get(digest);
      if (bytes === undefined) throw new Fault("NOT_FOUND", "ARTEFACT_UNKNOWN", digest);
      for (let at = Number(offset); at < bytes.length; at += 512) {
        if (at >= breaksAfter) throw new Fault("UNAVAILABLE", "LINK_DOWN", "the link broke");
        yield bytes.subarray(at, at + 512);
      }
    },
  });
}

function reference(bytes: Buffer, mediaType = "application/x-tar") {
  const digest = digestOf(bytes);
  blobs.set(digest, bytes);
  return { digest, size: BigInt(bytes.length), mediaType };
}

const never = new AbortController().signal;

describe("the artefact cache", () => {
  it("unpacks an archive with its directories and executable bits", async () => {
    const ref = reference(
      await tarOf(
        { name: "lib/", type: "directory" },
        { name: "lib/deep/a.mjs", content: "a" },
        { name: "bin/run", content: "#!", mode: 0o755 },
        { name: "./empty", content: "" },
      ),
    );
    await cache().ensure(ref, never);
    const root = cache().pathOf(ref.digest);
    expect(readFileSync(join(root, "lib/deep/a.mjs"), "utf8")).toBe("a");
    expect(readFileSync(join(root, "empty"), "utf8")).toBe("");
    expect(statSync(join(root, "bin/run")).mode & 0o777).toBe(0o755);
    expect(statSync(join(root, "lib/deep/a.mjs")).mode & 0o777).toBe(0o644);
  });

  it("keeps anything else as one file, and fetches it once for all who ask", async () => {
    const ref = reference(Buffer.from("one file"), "application/octet-stream");
    const one = cache();
    await Promise.all([one.ensure(ref, never), one.ensure(ref, never)]);
    await one.ensure(ref, never);
    expect(readFileSync(one.pathOf(ref.digest), "utf8")).toBe("one file");
    expect(asked).toEqual([0n]);
  });

  it("goes on where a broken download ended", async () => {
    const ref = reference(await tarOf({ name: "big", content: "x".repeat(5_000) }));
    breaksAfter = 2_048;
    await expect(cache().ensure(ref, never)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    breaksAfter = Number.POSITIVE_INFINITY;
    await cache().ensure(ref, never);
    expect(asked).toEqual([0n, 2_048n]);
    expect(readFileSync(join(cache().pathOf(ref.digest), "big"), "utf8")).toHaveLength(5_000);
  });

  it.each([
    ["other bytes of the same length", (bytes: Buffer) => Buffer.from(bytes).fill(1, 0, 1)],
    ["more bytes than named", (bytes: Buffer) => Buffer.concat([bytes, bytes])],
  ])("refuses %s and keeps nothing of them", async (_, swap) => {
    const ref = reference(await tarOf({ name: "a", content: "a" }));
    const good = blobs.get(ref.digest) ?? Buffer.alloc(0);
    blobs.set(ref.digest, swap(good));
    await expect(cache().ensure(ref, never)).rejects.toMatchObject({ reason: "ARTEFACT_SWAPPED" });
    expect(existsSync(cache().pathOf(ref.digest))).toBe(false);
    blobs.set(ref.digest, good);
    await cache().ensure(ref, never);
  });

  it.each<[string, TarEntry[]]>([
    ["a path that leaves", [{ name: "../outside", content: "x" }]],
    ["a path that leaves further down", [{ name: "a/../../outside", content: "x" }]],
    ["an absolute path", [{ name: "/etc/holdfast-test", content: "x" }]],
    ["a symbolic link", [{ name: "link", type: "symlink", linkname: "/etc/passwd" }]],
    ["a hard link", [{ name: "link", type: "link", linkname: "/etc/passwd" }]],
    ["a device", [{ name: "null", type: "character-device" }]],
    ["a pipe", [{ name: "pipe", type: "fifo" }]],
    [
      "the same path twice",
      [
        { name: "a", content: "1" },
        { name: "./a", content: "2" },
      ],
    ],
    ["a path that is too deep", [{ name: `${"d/".repeat(70)}f`, content: "x" }]],
  ])("refuses an archive with %s", async (_, entries) => {
    const ref = reference(await tarOf(...entries));
    await expect(cache().ensure(ref, never)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "ARTEFACT_UNSAFE",
    });
    expect(existsSync(cache().pathOf(ref.digest))).toBe(false);
    expect(existsSync(join(stateDir, "outside"))).toBe(false);
  });

  it("refuses what claims to be far larger than what was sent", async () => {
    const whole = await tarOf({ name: "bomb", content: "x" });
    // Size field of the header (octal, 11 digits) and its checksum.
    whole.write("77777777777\0", 124, "latin1");
    whole.write("        ", 148, "latin1");
    const sum = whole.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    whole.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    const ref = reference(whole);
    await expect(cache().ensure(ref, never)).rejects.toMatchObject({ reason: "ARTEFACT_UNSAFE" });
  });

  it("refuses what is no archive", async () => {
    const ref = reference(Buffer.alloc(2_048, 7));
    await expect(cache().ensure(ref, never)).rejects.toMatchObject({ reason: "ARTEFACT_UNSAFE" });
  });

  it("prunes what nobody names", async () => {
    const kept = reference(Buffer.from("kept"), "text/plain");
    const gone = reference(Buffer.from("gone"), "text/plain");
    const one = cache();
    await one.ensure(kept, never);
    await one.ensure(gone, never);
    expect(await one.prune(new Set([kept.digest]))).toBe(1);
    expect(existsSync(one.pathOf(kept.digest))).toBe(true);
    expect(existsSync(one.pathOf(gone.digest))).toBe(false);
  });
});
