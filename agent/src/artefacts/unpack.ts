/**
 * Unpacks a tar archive into a new directory. Only plain files and directories below it: links, devices,
 * absolute paths and `..` are refused, and so is an archive that grows out of proportion.
 */
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { type Extract, extract, type Header } from "tar-stream";

export const TAR_ENTRIES_MAX = 100_000;
export const TAR_BYTES_MAX = 8 * 1024 ** 3;
/** Unpacked to packed size. Tar itself never compresses; sparse headers could still claim any size. */
export const TAR_RATIO_MAX = 2;
/** Below this the ratio is not looked at: small archives are mostly headers. */
const RATIO_FROM_BYTES = 1_048_576;
const PATH_CHARS_MAX = 1_024;
const DEPTH_MAX = 64;

/** Throws INVALID_ARGUMENT `ARTEFACT_UNSAFE` with the entry and the rule; what was written stays behind. */
export async function unpackTar(
  source: Readable,
  packedBytes: number,
  directory: string,
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const bounds = { entries: 0, bytes: 0 };
  const unpack = extract();
  // The iterator has to listen before the first byte comes: entries that nobody hears are lost, and it waits.
  const entries = unpack[Symbol.asyncIterator]();
  feed(source, unpack);
  try {
    for await (const entry of { [Symbol.asyncIterator]: () => entries }) {
      await unpackEntry(entry, judgeEntry(entry.header, bounds, packedBytes), directory);
    }
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault("INVALID_ARGUMENT", "ARTEFACT_UNSAFE", "not a readable tar archive", {
      cause: error,
    });
  } finally {
    source.destroy();
    unpack.destroy();
  }
}

/** Not node's pipeline, which does not know the ends of these streams. */
function feed(source: Readable, unpack: Extract): void {
  source.on("error", (error) => unpack.destroy(error));
  source.on("data", (chunk: Uint8Array) => {
    if (!unpack.write(chunk)) source.pause();
  });
  unpack.on("drain", () => source.resume());
  source.on("end", () => unpack.end(null));
}

type Entry = AsyncIterable<unknown> & Readonly<{ header: Header; resume(): unknown }>;

async function unpackEntry(entry: Entry, path: string, directory: string): Promise<void> {
  const target = join(directory, path);
  if (entry.header.type === "directory") {
    await mkdir(target, { recursive: true, mode: 0o755 });
    entry.resume();
    return;
  }
  await mkdir(dirname(target), { recursive: true, mode: 0o755 });
  const isExecutable = (entry.header.mode & 0o111) !== 0;
  // `wx`: the same name twice is refused rather than decided by the order.
  const file = await open(target, "wx", isExecutable ? 0o755 : 0o644).catch((error: unknown) => {
    throw isExisting(error) ? unsafe(path, "the same path twice") : error;
  });
  try {
    for await (const chunk of entry) await file.writeFile(chunk as Uint8Array);
  } finally {
    await file.close();
  }
}

function judgeEntry(
  header: Header,
  bounds: { entries: number; bytes: number },
  packedBytes: number,
): string {
  const { name, type } = header;
  if (type !== "file" && type !== "directory" && type !== "contiguous-file") {
    throw unsafe(name, `type ${shown(type)}; allowed: files and directories`);
  }
  bounds.entries += 1;
  bounds.bytes += header.size;
  if (bounds.entries > TAR_ENTRIES_MAX) throw unsafe(name, `more than ${TAR_ENTRIES_MAX} entries`);
  const allowed = Math.min(TAR_BYTES_MAX, Math.max(RATIO_FROM_BYTES, packedBytes * TAR_RATIO_MAX));
  if (bounds.bytes > allowed) throw unsafe(name, `unpacks to more than ${allowed} bytes`);
  const path = name.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  if (path === "" || path === ".") return ".";
  const parts = path.split("/");
  if (path.startsWith("/") || path.includes("\0") || path.includes("\\")) {
    throw unsafe(name, "not a relative path");
  }
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw unsafe(name, "leaves its directory or has an empty part");
  }
  if (path.length > PATH_CHARS_MAX || parts.length > DEPTH_MAX) {
    throw unsafe(name, `longer than ${PATH_CHARS_MAX} characters or deeper than ${DEPTH_MAX}`);
  }
  return path;
}

function unsafe(name: string, rule: string): Fault {
  return new Fault("INVALID_ARGUMENT", "ARTEFACT_UNSAFE", `entry ${shown(name)}: ${rule}`);
}

function isExisting(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
}
