/**
 * Image archives as `docker save` and `skopeo` write them. Reads what an archive says of itself before the engine sees
 * it, and hands it on without the names in it, so that no release moves a tag that the host's owner uses.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { finished } from "node:stream/promises";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { extract, type Header, type Pack, pack } from "tar-stream";

export type ArchivedImage = Readonly<{
  /** `sha256:…` of its configuration, by which the engine knows it. */
  id: string;
  architecture: string;
  os: string;
  /** Of all files in the archive. */
  bytes: number;
}>;

const MANIFEST = "manifest.json";
const INDEX = "index.json";
/** Names of images, in the words of older engines. */
const REPOSITORIES = "repositories";
const DESCRIPTION_BYTES_MAX = 4_194_304;
const ENTRIES_MAX = 20_000;

/** Throws INVALID_ARGUMENT `IMAGE_CORRUPT` with what is wrong, RESOURCE_EXHAUSTED `IMAGE_TOO_LARGE`. */
export async function readArchive(file: string, bytesMax: number): Promise<ArchivedImage> {
  let bytes = 0;
  let entries = 0;
  const count = ({ size = 0 }: Header) => {
    bytes += size;
    entries += 1;
    if (bytes > bytesMax) throw tooLarge(bytes, bytesMax);
    if (entries > ENTRIES_MAX) throw corrupt(`more than ${ENTRIES_MAX} files`);
  };
  const manifest = await describedIn(file, MANIFEST, count);
  if (manifest === undefined) throw corrupt(`no ${MANIFEST}; write it with docker save or skopeo`);
  const images = jsonIn(manifest, MANIFEST);
  const [image, ...more] = Array.isArray(images) ? (images as readonly unknown[]) : [];
  if (more.length > 0) throw corrupt(`${more.length + 1} images; allowed: one`);
  const name = (image as { Config?: unknown } | undefined)?.Config;
  if (typeof name !== "string") throw corrupt(`${MANIFEST} names no configuration`);
  const config = await describedIn(file, name, () => undefined);
  if (config === undefined) throw corrupt(`${shown(name)} is not in it`);
  const { architecture, os } = jsonIn(config, name) as { architecture?: unknown; os?: unknown };
  if (typeof architecture !== "string" || typeof os !== "string") {
    throw corrupt(`${shown(name)} says no architecture`);
  }
  const id = `sha256:${createHash("sha256").update(config).digest("hex")}`;
  return { id, architecture, os, bytes };
}

/** The archive as the engine is to load it. Destroyed with the fault that reading it ends with. */
export function withoutNames(file: string): Pack {
  const out = pack();
  void copyEntries(file, out).then(
    () => out.finalize(),
    (error: unknown) => out.destroy(error as Error),
  );
  return out;
}

async function copyEntries(file: string, out: Pack): Promise<void> {
  await eachEntry(file, async (header, content) => {
    if (header.name === REPOSITORIES) return await drain(content);
    if (header.name === MANIFEST || header.name === INDEX) {
      const text = renamed(header.name, await bodyOf(content, header));
      out.entry({ name: header.name, mode: 0o644 }, text);
      return;
    }
    const entry = out.entry({ ...header, pax: null });
    if ((header.size ?? 0) === 0) {
      entry.end(null);
      return await drain(content);
    }
    for await (const part of content) {
      if (!entry.write(part))
        await new Promise<void>((resolve) => entry.once("drain", () => resolve()));
    }
    entry.end(null);
    await finished(entry);
  });
}

/** Its own words without tags and annotations. */
function renamed(name: string, body: Buffer): string {
  const content = jsonIn(body, name);
  if (name === MANIFEST) {
    const images = Array.isArray(content) ? (content as readonly object[]) : [];
    return JSON.stringify(images.map((image) => ({ ...image, RepoTags: null })));
  }
  const index = content as { manifests?: readonly object[] };
  const manifests = (index.manifests ?? []).map((each) => ({ ...each, annotations: undefined }));
  return JSON.stringify({ ...index, manifests });
}

async function describedIn(
  file: string,
  name: string,
  each: (header: Header) => void,
): Promise<Buffer | undefined> {
  let found: Buffer | undefined;
  await eachEntry(file, async (header, content) => {
    each(header);
    if (header.name === name && header.type === "file") found = await bodyOf(content, header);
    else await drain(content);
  });
  return found;
}

type Content = AsyncIterable<Buffer>;

async function eachEntry(
  file: string,
  work: (header: Header, content: Content) => Promise<void>,
): Promise<void> {
  const unpack = extract();
  // The iterator has to listen before the first byte comes.
  const entries = unpack[Symbol.asyncIterator]();
  const source = createReadStream(file, { highWaterMark: 1_048_576 });
  source.on("error", (error) => unpack.destroy(error));
  source.on("data", (chunk) => {
    if (!unpack.write(chunk)) source.pause();
  });
  unpack.on("drain", () => source.resume());
  source.on("end", () => unpack.end(null));
  try {
    for await (const entry of { [Symbol.asyncIterator]: () => entries }) {
      await work(entry.header, entry as unknown as Content);
    }
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw corrupt("not a readable tar archive", error);
  } finally {
    source.destroy();
    unpack.destroy();
  }
}

async function drain(content: Content): Promise<void> {
  for await (const _ of content);
}

async function bodyOf(content: Content, { name, size = 0 }: Header): Promise<Buffer> {
  if (size > DESCRIPTION_BYTES_MAX) {
    throw corrupt(`${shown(name)} has ${size} bytes; at most ${DESCRIPTION_BYTES_MAX}`);
  }
  const parts: Buffer[] = [];
  for await (const part of content) parts.push(part);
  return Buffer.concat(parts);
}

function jsonIn(body: Buffer, name: string): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw corrupt(`${shown(name)} is no JSON`, error);
  }
}

export function corrupt(what: string, cause?: unknown): Fault {
  return new Fault("INVALID_ARGUMENT", "IMAGE_CORRUPT", `image archive: ${what}`, { cause });
}

export function tooLarge(bytes: number, bytesMax: number): Fault {
  const mib = (value: number) => `${Math.ceil(value / 1_048_576)} MiB`;
  const message = `image: ${mib(bytes)} or more; container_image_mib_max allows ${mib(bytesMax)}`;
  return new Fault("RESOURCE_EXHAUSTED", "IMAGE_TOO_LARGE", message);
}
