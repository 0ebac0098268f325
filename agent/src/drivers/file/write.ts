/**
 * Puts a file in place: written beside under a name of its own, synced, what stood there set aside under another one,
 * and then renamed, which readers see as the old or the new file, whole. Whatever a crash leaves, the record says, and
 * the same order done again goes on from there.
 */
import {
  close,
  constants,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  openSync,
  write,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { FileSpec } from "@holdfast/shared/blueprint/kinds/file.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import type { StepContext, StepOrder, StepOutcome, Wanted } from "../driver.ts";
import { type Account, accountOf, openWay } from "../host-process/account.ts";
import { type Content, contentOf, specOf } from "./content.ts";
import { type Copy, findAround, findRecord } from "./copies.ts";
import type { Folder } from "./folder.ts";
import type { FileHost } from "./host.ts";
import { inputOf } from "./input.ts";
import { inFolderOf, isBelow, type OpenPlace, pathOf } from "./place.ts";
import {
  besideNames,
  type FileIdentity,
  type FileRecord,
  identityOf,
  isSameFile,
  keepRecord,
  statOf,
  writeRecord,
} from "./record.ts";
import { standingAt } from "./stands.ts";

const writeChunk = promisify(write);
const closeFile = promisify(close);
const syncFile = promisify(fsync);

export async function writeCopy(
  host: FileHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await context.wanted(input.digest());
  const spec = specOf(wanted);
  const account = accountOf(host, spec.owner, "owner");
  const path = pathOf(host, spec.path, input.instance(), context);
  const content = await contentOf(host, wanted, spec);
  const file = { ...{ host, wanted, content, account, path, spec }, handle: input.handle() };
  const begun = findRecord(context, input.instance(), file.handle) ?? (await begin(file, context));
  if (isBelow(path, context.stateDir)) {
    openWay(dirname(context.directories(input.instance()).run), context.stateDir, account);
  }
  const making = { mode: spec.directoryMode, account, roots: host.roots };
  const record = await inFolderOf(host, path, context, making, async (place) => {
    place.folder.refuseKernel();
    return await putInPlace(file, begun, place, context);
  });
  const { told, bytes } = record ?? begun;
  const outputs = { path, digest: told };
  return { handle: file.handle, outputs, message: `${bytes} bytes in ${path}` };
}

type NewFile = Readonly<{
  host: FileHost;
  wanted: Wanted;
  handle: string;
  content: Content;
  account: Account | undefined;
  spec: FileSpec;
  path: string;
}>;

/** Notes what is about to be done, before anything is there. */
async function begin(file: NewFile, context: StepContext): Promise<FileRecord> {
  const { host, wanted, handle, content, spec, path } = file;
  const { key, digest, generation } = wanted;
  const { run } = context.directories(key.instanceId);
  const copies = await findAround(host, path, key.instanceId, context);
  const standing = await inFolderOf(host, path, context, undefined, async (place) =>
    standingAt(place, path, key, copies),
  );
  const ofInstance = copies.filter((copy) => copy.key.instanceId === key.instanceId);
  const made = ofInstance
    .flatMap(({ record }) => record.made)
    .filter((each) => isBelow(path, each));
  const previous = ofInstance.findLast(
    (copy) => copy.key.resourceId === key.resourceId && copy.record.path === path,
  )?.record;
  const own = { instance: key.instanceId, handle };
  const isForeign = standing !== undefined && standing.over === undefined;
  const record: FileRecord = {
    ...{ ...own, resource: key.resourceId, digest, path, mode: spec.mode, owner: spec.owner },
    generation: formatGeneration(generation),
    account: undefined,
    bytes: content.data.length,
    content: content.digest,
    told: content.told,
    made: [...new Set([...made, ...missingFolders(path, context.stateDir)])].sort(),
    over: standing?.over?.record.handle,
    before: previous?.before ?? (isForeign ? besideNames(own).before : undefined),
    beganAt: context.clock.now(),
    staged: undefined,
    placed: undefined,
  };
  writeRecord(run, record);
  return record;
}

/** Folders above the file that will have to be made. */
function missingFolders(path: string, stateDir: string): readonly string[] {
  const missing: string[] = [];
  for (let at = dirname(path); at !== dirname(at) && at !== stateDir; at = dirname(at)) {
    if (existsSync(at)) break;
    missing.push(at);
  }
  return missing;
}

async function putInPlace(
  file: NewFile,
  begun: FileRecord,
  place: OpenPlace,
  context: StepContext,
): Promise<FileRecord> {
  const { folder, file: name } = place;
  const { run } = context.directories(begun.instance);
  if (isSameFile(begun.staged, folder.look(name))) {
    return begun.placed === undefined ? finish(run, begun, place) : begun;
  }
  const beside = besideNames(begun);
  folder.unlink(beside.staged);
  const staged = await stage(file, folder, beside.staged);
  const record = { ...begun, staged, placed: undefined };
  await keepRecord(run, record);
  const around = await findAround(file.host, file.path, begun.instance, context);
  setAside(file, record, place, around);
  folder.rename(beside.staged, name);
  return finish(run, record, place);
}

/** The new file under a name of its own, on the disk, with its mode and owner. */
async function stage(
  { content, account, spec }: NewFile,
  folder: Folder,
  name: string,
): Promise<FileIdentity> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const file = openSync(folder.at(name), O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o600);
  try {
    for (let at = 0; at < content.data.length; ) {
      const { bytesWritten } = await writeChunk(file, content.data, at);
      at += bytesWritten;
    }
    if (account !== undefined) fchownSync(file, account.uid, account.gid);
    fchmodSync(file, spec.mode);
    await syncFile(file);
    return identityOf(fstatSync(file));
  } finally {
    await closeFile(file);
  }
}

/**
 * A second name for what stands there at this moment: until the commit nothing of it can be lost, and to put it back
 * takes no space on the disk.
 */
function setAside(
  { path, wanted }: NewFile,
  record: FileRecord,
  place: OpenPlace,
  copies: readonly Copy[],
): void {
  const { folder, file: name } = place;
  const beside = besideNames(record);
  const kept = record.before === beside.before ? beside.before : beside.kept;
  const standing = standingAt(place, path, wanted.key, copies);
  // A crash may have come after the link: what stood there then is what is put back.
  if (standing === undefined || folder.look(kept) !== undefined) return;
  folder.link(name, kept);
  // Something else may have come there since the look: a link or a device gets no second name of ours.
  if (folder.look(kept)?.isFile()) return;
  folder.unlink(kept);
  standingAt(place, path, wanted.key, copies);
}

async function finish(
  run: string,
  record: FileRecord,
  { folder, file }: OpenPlace,
): Promise<FileRecord> {
  await folder.sync();
  const stands = folder.look(file);
  if (stands === undefined || !isSameFile(record.staged, stands)) return record;
  const account = { uid: stands.uid, gid: stands.gid };
  const placed = { ...record, account, placed: statOf(stands) };
  writeRecord(run, placed);
  return placed;
}
