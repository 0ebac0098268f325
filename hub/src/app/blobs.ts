/**
 * Where artefacts' bytes lie: content-addressed, appended in order, complete only once the whole has its
 * digest. A directory here; other places have the same five functions. Refuses any name that is not a digest.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseDigest } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";

/** Largest artefact. */
export const ARTEFACT_BYTES_MAX = 8_589_934_592;
const READ_CHUNK_BYTES = 262_144;

export type BlobState = Readonly<{ complete: boolean; offset: bigint }>;

export type Blobs = Readonly<{
  stat(digest: string): Promise<BlobState>;
  /**
   * Appends at exactly the present end; with `isLast` checks the digest and makes it complete.
   * Throws ABORTED `OFFSET_MISMATCH`, INVALID_ARGUMENT `DIGEST_MISMATCH` (what was there is dropped).
   */
  append(digest: string, part: BlobPart): Promise<BlobState>;
  /** Chunks of at most 256 KiB. Throws NOT_FOUND `ARTEFACT_MISSING`. */
  read(digest: string, offset: bigint): AsyncIterable<Uint8Array>;
}>;

export type BlobPart = Readonly<{ offset: bigint; data: Uint8Array; isLast: boolean }>;

/**
 * The blob stores of all vendors below one directory. Each vendor has its own: whether another one holds the
 * same bytes is none of its business.
 */
export function vendorBlobs(directory: string): (vendorId: string) => Promise<Blobs> {
  const opened = new Map<string, Promise<Blobs>>();
  return (vendorId) => {
    const blobs = opened.get(vendorId) ?? openBlobs(join(directory, vendorId));
    // A directory that could not be made is tried again.
    blobs.catch(() => opened.delete(vendorId));
    opened.set(vendorId, blobs);
    return blobs;
  };
}

export async function openBlobs(directory: string): Promise<Blobs> {
  await mkdir(join(directory, "partial"), { recursive: true, mode: 0o700 });
  const whole = (digest: string) => join(directory, nameOf(digest));
  const partial = (digest: string) => join(directory, "partial", nameOf(digest));
  /** One writer for each blob: appends of one process wait for each other. */
  const turns = new Map<string, Promise<unknown>>();

  async function state(digest: string): Promise<BlobState> {
    const size = await sizeOf(whole(digest));
    if (size !== undefined) return { complete: true, offset: size };
    return { complete: false, offset: (await sizeOf(partial(digest))) ?? 0n };
  }

  async function append(digest: string, { offset, data, isLast }: BlobPart): Promise<BlobState> {
    const before = await state(digest);
    if (before.complete) return before;
    if (offset !== before.offset) {
      throw new Fault(
        "ABORTED",
        "OFFSET_MISMATCH",
        `offset: got ${offset}; the hub holds ${before.offset} bytes, go on there`,
        { metadata: { offset: before.offset.toString() } },
      );
    }
    await appendTo(partial(digest), offset, data);
    const end = offset + BigInt(data.length);
    if (!isLast) return { complete: false, offset: end };
    await complete(digest, partial(digest), whole(digest), directory);
    return { complete: true, offset: end };
  }

  return {
    stat: state,
    append(digest, part) {
      const turn = (turns.get(digest) ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => append(digest, part));
      turns.set(digest, turn);
      const forget = () => {
        if (turns.get(digest) === turn) turns.delete(digest);
      };
      turn.then(forget, forget);
      return turn;
    },
    async *read(digest, offset) {
      const size = await sizeOf(whole(digest));
      if (size === undefined) {
        throw new Fault("NOT_FOUND", "ARTEFACT_MISSING", `artefact ${digest}: not found`);
      }
      if (offset > size) {
        throw new Fault(
          "INVALID_ARGUMENT",
          "OFFSET_RANGE",
          `offset: got ${offset}; allowed: 0 to ${size}`,
        );
      }
      const options = { start: Number(offset), highWaterMark: READ_CHUNK_BYTES };
      yield* createReadStream(whole(digest), options) as AsyncIterable<Uint8Array>;
    },
  };
}

function nameOf(digest: string): string {
  return parseDigest(digest).slice("sha256:".length);
}

async function sizeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

async function appendTo(path: string, offset: bigint, data: Uint8Array): Promise<void> {
  const file = await open(path, offset === 0n ? "w" : "r+", 0o600);
  try {
    let at = Number(offset);
    for (let rest = data; rest.length > 0; ) {
      const { bytesWritten } = await file.write(rest, 0, rest.length, at);
      at += bytesWritten;
      rest = rest.subarray(bytesWritten);
    }
  } finally {
    await file.close();
  }
}

/** The bytes are on disk before the name is: a crash leaves a partial one, never a wrong whole. */
async function complete(
  digest: string,
  partial: string,
  whole: string,
  directory: string,
): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(partial)) hash.update(chunk as Uint8Array);
  const found = `sha256:${hash.digest("hex")}`;
  if (found !== digest) {
    await rm(partial);
    throw new Fault(
      "INVALID_ARGUMENT",
      "DIGEST_MISMATCH",
      `digest: the bytes have ${found}; expected ${digest}; upload again from the start`,
    );
  }
  const file = await open(partial, "r+");
  await file.sync();
  await file.close();
  await rename(partial, whole);
  const folder = await open(directory, "r");
  await folder.sync();
  await folder.close();
}
