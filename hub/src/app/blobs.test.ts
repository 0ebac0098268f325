/** The blob directory: interrupted, wrong and hostile uploads. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digestOf } from "@holdfast/shared/digest.ts";
import { afterAll, describe, expect, it } from "vitest";
import { type Blobs, openBlobs } from "./blobs.ts";

const directory = mkdtempSync(join(tmpdir(), "holdfast-blobs-"));
afterAll(() => rmSync(directory, { recursive: true }));

async function contentOf(blobs: Blobs, digest: string, offset = 0n): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of blobs.read(digest, offset)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("openBlobs", () => {
  const bytes = Buffer.from("one two three");
  const digest = digestOf(bytes);

  it("goes on where an interrupted upload ended and then serves from any offset", async () => {
    const first = await openBlobs(directory);
    await first.append(digest, { offset: 0n, data: bytes.subarray(0, 4), isLast: false });
    const second = await openBlobs(directory);
    expect(await second.stat(digest)).toEqual({ complete: false, offset: 4n });
    await second.append(digest, { offset: 4n, data: bytes.subarray(4), isLast: true });
    expect(await second.stat(digest)).toEqual({ complete: true, offset: 13n });
    expect(await contentOf(second, digest, 4n)).toBe("two three");
  });

  it("says where to go on when the offset is wrong", async () => {
    const blobs = await openBlobs(directory);
    const other = digestOf(Buffer.from("other"));
    const append = blobs.append(other, { offset: 3n, data: bytes, isLast: false });
    await expect(append).rejects.toMatchObject({
      reason: "OFFSET_MISMATCH",
      metadata: { offset: "0" },
    });
  });

  it("drops bytes that do not have the digest", async () => {
    const blobs = await openBlobs(directory);
    const other = digestOf(Buffer.from("expected"));
    const append = blobs.append(other, { offset: 0n, data: Buffer.from("sent"), isLast: true });
    await expect(append).rejects.toMatchObject({ reason: "DIGEST_MISMATCH" });
    expect(await blobs.stat(other)).toEqual({ complete: false, offset: 0n });
    expect(readdirSync(join(directory, "partial"))).toEqual([]);
  });

  it("takes no path for a digest", async () => {
    const blobs = await openBlobs(directory);
    await expect(blobs.stat("../../etc/passwd")).rejects.toMatchObject({
      reason: "DIGEST_MALFORMED",
    });
  });

  it("refuses to read what is not complete", async () => {
    const blobs = await openBlobs(directory);
    const absent = contentOf(blobs, digestOf(Buffer.from("absent")));
    await expect(absent).rejects.toMatchObject({ reason: "ARTEFACT_MISSING" });
  });
});
