/**
 * What a file is to hold, and what it holds now. Secrets are put in here and nowhere else; where one is in the content,
 * nobody is told a digest of it, since that of a short secret gives it away.
 */
import { createHash } from "node:crypto";
import { close, constants, fstatSync, openSync, read } from "node:fs";
import { promisify } from "node:util";
import { parseTemplate } from "@holdfast/shared/blueprint/expression.ts";
import { type FileSpec, readFileSpec } from "@holdfast/shared/blueprint/kinds/file.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { DriverContext, JsonObject, Wanted } from "../driver.ts";
import { accountName } from "../host-process/account.ts";
import type { Copy } from "./copies.ts";
import { codeOf, Folder } from "./folder.ts";
import type { FileHost } from "./host.ts";
import { inFolderOf } from "./place.ts";
import { isUntouched } from "./record.ts";

/** Of one file, 64 MiB: it is held in memory while it is written. */
export const FILE_BYTES_MAX = 67_108_864;
const CHUNK_BYTES = 1_048_576;

const readChunk = promisify(read);
const closeFile = promisify(close);

export type Content = Readonly<{
  data: Buffer;
  digest: string;
  /** For others: the digest, or that of the rendering where a secret is in the content. */
  told: string;
}>;

/** Throws INVALID_ARGUMENT `SPEC_INVALID`. */
export function specOf({ spec }: Wanted): FileSpec {
  return readFileSpec(spec, "spec");
}

/**
 * Throws FAILED_PRECONDITION `ARTEFACT_MISSING`, `SOURCE_MISSING`, `SECRET_MISSING`, RESOURCE_EXHAUSTED
 * `FILE_TOO_LARGE`.
 */
export async function contentOf(
  { procDir }: Pick<FileHost, "procDir">,
  wanted: Wanted,
  spec: FileSpec,
): Promise<Content> {
  const { source, content = "" } = spec;
  const hasSecret = wanted.secretTexts?.includes("content") === true;
  const data =
    source === undefined
      ? Buffer.from(hasSecret ? filled(content, wanted) : content)
      : await readSource(procDir, wanted, source);
  const digest = digestOf(data);
  return { data, digest, told: hasSecret ? wanted.digest : digest };
}

function digestOf(data: Buffer): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** The rendering left this text as a template, since secrets stand in it. */
function filled(text: string, { secrets, secretTexts = [] }: Wanted): string {
  const template = parseTemplate(text);
  const parts = "problem" in template ? [] : template.parts;
  return parts
    .map((part) => {
      if (typeof part === "string") return part;
      const value = part.root === "secrets" ? secrets.get(part.names[0] ?? "") : undefined;
      if (value !== undefined) return value;
      const message = `${secretTexts.join(", ")}: ${shown(part.text)} is not on this host`;
      throw new Fault("FAILED_PRECONDITION", "SECRET_MISSING", message);
    })
    .join("");
}

async function readSource(
  procDir: string,
  { artefacts }: Wanted,
  { artefact, file }: NonNullable<FileSpec["source"]>,
): Promise<Buffer> {
  const root = artefacts.get(artefact);
  if (root === undefined) {
    const message = `artefact: ${shown(artefact)} is not on this host; here: ${[...artefacts.keys()].join(", ") || "none"}`;
    throw new Fault("FAILED_PRECONDITION", "ARTEFACT_MISSING", message);
  }
  const names = file.split("/");
  const name = names.pop() ?? "";
  let folder = Folder.open(procDir, root);
  try {
    for (const each of names) {
      const next = folder.enter(each);
      if (next === undefined) throw missing(artefact, file);
      folder.close();
      folder = next;
    }
    const data = await readFile(folder, name, FILE_BYTES_MAX);
    if (data === undefined) throw missing(artefact, file);
    return data;
  } finally {
    folder.close();
  }
}

function missing(artefact: string, file: string): Fault {
  const message = `source: artefact ${shown(artefact)} has no plain file ${shown(file)}`;
  return new Fault("FAILED_PRECONDITION", "SOURCE_MISSING", message);
}

/** undefined for what is not there or no plain file. Never waits for the other end of a pipe, and follows no link. */
async function readFile(
  folder: Folder,
  name: string,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const file = openPlain(folder, name);
  if (file === undefined) return undefined;
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) return undefined;
    if (stat.size > bytesMax) throw tooLarge(`${folder.path}/${name}`, stat.size);
    const chunks: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, stat.size - bytes + 1));
      const { bytesRead } = await readChunk(file, buffer, 0, buffer.length, null);
      if (bytesRead === 0) return Buffer.concat(chunks);
      bytes += bytesRead;
      // It may grow while it is read.
      if (bytes > bytesMax) throw tooLarge(`${folder.path}/${name}`, bytes);
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await closeFile(file);
  }
}

function openPlain(folder: Folder, name: string): number | undefined {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    return openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    // ENXIO: a socket.
    if (["ENOENT", "ELOOP", "ENXIO"].includes(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}

export function tooLarge(path: string, bytes: number): Fault {
  const message = `${shown(path)}: ${bytes} bytes; allowed: at most ${FILE_BYTES_MAX}`;
  return new Fault("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE", message);
}

/** Three digits, or four where somebody gave it setuid or the like. */
export function shownMode(mode: number): string {
  return mode.toString(8).padStart(3, "0");
}

/**
 * What the driver owns of a file in place, in the words of its spec: `content` (a digest), `mode`, `owner`. Read only
 * if the file is not as it was written. undefined for a copy that is not in place.
 */
export async function fieldsOf(
  host: FileHost,
  { record, state, stat, rights }: Copy,
  context: DriverContext,
): Promise<JsonObject | undefined> {
  if (state !== "in place" || stat === undefined || rights === undefined) return undefined;
  const { owner, placed, account } = record;
  const isOwners = rights.uid === account?.uid && rights.gid === account.gid;
  const isSame = isUntouched(placed, stat);
  const now = isSame ? record.content : await digestNow(host, record.path, stat, context);
  const hasSecret = record.told !== record.content;
  const other = hasSecret ? `changed, ${stat.size} bytes` : now;
  const ownerNow = isOwners ? owner : accountName(host.accountsFile, rights);
  return {
    content: now === record.content ? record.told : other,
    mode: shownMode(rights.mode),
    ...(ownerNow !== undefined && { owner: ownerNow }),
  };
}

async function digestNow(
  host: FileHost,
  path: string,
  stat: NonNullable<Copy["stat"]>,
  context: DriverContext,
): Promise<string> {
  const known = host.seen.digest(path, stat);
  if (known !== undefined) return known;
  if (stat.size > FILE_BYTES_MAX) return `${stat.size} bytes`;
  const data = await inFolderOf(host, path, context, undefined, ({ folder, file }) =>
    readFile(folder, file, FILE_BYTES_MAX),
  );
  const digest = data === undefined ? "gone" : digestOf(data);
  host.seen.keepDigest(path, stat, digest);
  return digest;
}
