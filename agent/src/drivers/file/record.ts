/**
 * What the driver notes of each file that it writes, in run/ of the instance: by these records it finds its work
 * again. One is on the disk before the file's path changes.
 */
import { createHash } from "node:crypto";
import { rmSync, type Stats } from "node:fs";
import { join } from "node:path";
import { OWN_FILE_PREFIX } from "@holdfast/shared/blueprint/kinds/file-path.ts";
import type { JsonObject, JsonValue } from "../driver.ts";
import type { Account } from "../host-process/account.ts";
import { objectOf, readJson, replaceJson, replaceJsonDurably } from "../json-file.ts";
import { isHandle, isInstanceId } from "../names.ts";

/** Which file it is, whatever its name: numbers of inodes come back soon, but not with the same time of birth. */
export type FileIdentity = Readonly<{ dev: number; ino: number; birthtimeMs: number }>;

/** With what tells whether it was changed since. */
export type FileStat = FileIdentity & Readonly<{ size: number; mtimeMs: number; ctimeMs: number }>;

export type FileRecord = Readonly<{
  instance: string;
  resource: string;
  handle: string;
  digest: string;
  /** `incarnation.number` */
  generation: string;
  /** Absolute. */
  path: string;
  mode: number;
  /** Name of the account; undefined: the agent's own. */
  owner: string | undefined;
  /** Numbers of the account that it was given to. */
  account: Account | undefined;
  bytes: number;
  /** sha256 of what was written. */
  content: string;
  /** What others are told in its place: the rendering's digest where a secret is in the content. */
  told: string;
  /** Folders that were made for it and its predecessors at this path, outermost first; absolute. */
  made: readonly string[];
  /** The copy whose file this one takes the place of. */
  over: string | undefined;
  /** What stood there was not ours: the name under which it is kept beside, until this and its successors are gone. */
  before: string | undefined;
  /** Wall clock, ms. */
  beganAt: number;
  /** The new file, before it has its name; undefined while it is written. */
  staged: FileIdentity | undefined;
  /** The file right after it had got its name. */
  placed: FileStat | undefined;
}>;

export const RECORD_SUFFIX = ".file.json";
const RECORD_VERSION = 1;
const HASH_CHARS = 16;

/** Names beside the file, told from each other by the copy. */
export function besideNames({ instance, handle }: Pick<FileRecord, "instance" | "handle">) {
  const hash = createHash("sha256").update(`${instance}/${handle}`).digest("hex");
  const stem = `${OWN_FILE_PREFIX}${hash.slice(0, HASH_CHARS)}`;
  return { staged: `${stem}.new`, kept: `${stem}.kept`, before: `${stem}.before` } as const;
}

export function recordPath(runDir: string, handle: string): string {
  return join(runDir, `${handle}${RECORD_SUFFIX}`);
}

export function identityOf({ dev, ino, birthtimeMs }: Stats): FileIdentity {
  return { dev, ino, birthtimeMs };
}

export function statOf(stats: Stats): FileStat {
  const { size, mtimeMs, ctimeMs } = stats;
  return { ...identityOf(stats), size, mtimeMs, ctimeMs };
}

export function isSameFile(a: FileIdentity | undefined, b: FileIdentity | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.ino === b.ino && a.dev === b.dev && a.birthtimeMs === b.birthtimeMs;
}

export function isUntouched(a: FileStat | undefined, b: FileStat): boolean {
  return (
    isSameFile(a, b) && a?.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs
  );
}

export function writeRecord(runDir: string, record: FileRecord): void {
  replaceJson(recordPath(runDir, record.handle), { version: RECORD_VERSION, ...record });
}

/** On the disk once it resolves. */
export async function keepRecord(runDir: string, record: FileRecord): Promise<void> {
  const path = recordPath(runDir, record.handle);
  await replaceJsonDurably(path, { version: RECORD_VERSION, ...record });
}

export function removeRecord(runDir: string, handle: string): void {
  rmSync(recordPath(runDir, handle), { force: true });
}

export function readRecord(path: string): FileRecord | undefined {
  const found = readJson(path);
  if (found?.["version"] !== RECORD_VERSION) return undefined;
  const { instance, resource, handle, digest, generation, path: place, content, told } = found;
  const { mode, bytes, beganAt, owner, over, before, made } = found;
  if (typeof instance !== "string" || !isInstanceId(instance)) return undefined;
  if (typeof handle !== "string" || !isHandle(handle)) return undefined;
  if (typeof resource !== "string" || typeof digest !== "string") return undefined;
  if (typeof generation !== "string" || !/^\d+\.\d+$/.test(generation)) return undefined;
  if (typeof place !== "string" || typeof content !== "string") return undefined;
  if (typeof told !== "string" || typeof mode !== "number") return undefined;
  if (typeof bytes !== "number" || typeof beganAt !== "number") return undefined;
  return {
    ...{ instance, resource, handle, digest, generation, path: place, content, told },
    ...{ mode, bytes, beganAt },
    owner: textIn(owner),
    account: accountIn(objectOf(found["account"])),
    over: textIn(over),
    before: besideIn(before),
    made: Array.isArray(made) ? made.filter((each) => typeof each === "string") : [],
    staged: identityIn(objectOf(found["staged"])),
    placed: statIn(objectOf(found["placed"])),
  };
}

function textIn(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Nothing but a name of ours is ever put back or removed by it. */
function besideIn(value: JsonValue | undefined): string | undefined {
  const text = textIn(value);
  return text !== undefined && /^\.holdfast-[0-9a-f]{16}\.before$/.test(text) ? text : undefined;
}

function accountIn(found: JsonObject | undefined): Account | undefined {
  const { uid, gid } = found ?? {};
  return typeof uid === "number" && typeof gid === "number" ? { uid, gid } : undefined;
}

function identityIn(found: JsonObject | undefined): FileIdentity | undefined {
  const { dev, ino, birthtimeMs } = found ?? {};
  if (typeof dev !== "number" || typeof ino !== "number") return undefined;
  return typeof birthtimeMs === "number" ? { dev, ino, birthtimeMs } : undefined;
}

function statIn(found: JsonObject | undefined): FileStat | undefined {
  const same = identityIn(found);
  const { size, mtimeMs, ctimeMs } = found ?? {};
  if (same === undefined || typeof size !== "number") return undefined;
  if (typeof mtimeMs !== "number" || typeof ctimeMs !== "number") return undefined;
  return { ...same, size, mtimeMs, ctimeMs };
}
