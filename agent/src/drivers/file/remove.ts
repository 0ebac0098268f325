/**
 * Takes a copy away: puts back what it took the place of, or lets go what was kept of it. Done again after a crash, it
 * goes on from what it finds; the record goes last. A file that somebody else has put there is left alone on a return.
 */
import type { DriverContext, StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { type Copy, findAround, findOf, findRecord } from "./copies.ts";
import type { Folder } from "./folder.ts";
import type { FileHost } from "./host.ts";
import { inputOf } from "./input.ts";
import { inFolderOf, ownFolder } from "./place.ts";
import { besideNames, type FileRecord, isSameFile, removeRecord } from "./record.ts";

export async function removeCopy(
  host: FileHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const handle = input.handle();
  const record = findRecord(context, input.instance(), handle);
  if (record === undefined) return { handle, message: "was gone already" };
  const message = await takeAway(host, record, input.back(), context);
  return { handle, message };
}

/** Everything that the driver has written for an instance; what was there before comes back. */
export async function dropFiles(
  host: FileHost,
  instanceId: string,
  context: DriverContext,
): Promise<void> {
  const copies = await findOf(host, instanceId, context);
  // The newest first: what a copy is over goes after it.
  for (const { record } of copies.toReversed()) await takeAway(host, record, false, context);
  const own = ownFolder(instanceId, context);
  await inFolderOf(host, own, context, undefined, async ({ folder, file }) => {
    emptyOut(folder, file);
  });
}

async function takeAway(
  host: FileHost,
  record: FileRecord,
  back: boolean,
  context: DriverContext,
): Promise<string> {
  const around = await findAround(host, record.path, record.instance, context);
  const copies = around.filter((copy) => copy.record.path === record.path);
  const message = await inFolderOf(host, record.path, context, undefined, async (place) => {
    const { folder, file } = place;
    folder.unlink(besideNames(record).staged);
    const done = back ? putBack(folder, file, record) : letGo(folder, file, record, copies);
    await folder.sync();
    return done;
  });
  await removeFolders(host, record, context);
  removeRecord(context.directories(record.instance).run, record.handle);
  return message ?? "its folder was gone already";
}

/** As it was before this copy: the kept file has its content, mode and owner, since it is the same file. */
function putBack(folder: Folder, file: string, record: FileRecord): string {
  const beside = besideNames(record);
  const kept = [beside.kept, beside.before].find((name) => folder.look(name) !== undefined);
  if (kept === undefined) {
    if (!isSameFile(record.staged, folder.look(file))) return "it never came to its place";
    folder.unlink(file);
    return "nothing stood there before";
  }
  restore(folder, kept, file);
  return "what stood there is back";
}

function restore(folder: Folder, kept: string, file: string): void {
  // Two names of one file: it never lost its place, and a rename would do nothing.
  if (isSameFile(folder.look(kept), folder.look(file))) folder.unlink(kept);
  else folder.rename(kept, file);
}

/** For good: of a copy in place the file goes, of one that is set aside what was kept of it. */
function letGo(folder: Folder, file: string, record: FileRecord, copies: readonly Copy[]): string {
  const others = copies.filter((copy) => copy.record.handle !== record.handle);
  for (const each of others) {
    if (each.record.over === record.handle) folder.unlink(besideNames(each.record).kept);
  }
  folder.unlink(besideNames(record).kept);
  const { before } = record;
  const isNeeded = others.some((each) => each.record.before === before);
  const isInPlace = copies.some(
    (copy) => copy.record.handle === record.handle && copy.state === "in place",
  );
  if (before !== undefined && !isNeeded) {
    // Not there any more: a crash came after it was put back.
    if (folder.look(before) === undefined) return "what stood there before was back already";
    restore(folder, before, file);
    return "what stood there before is back";
  }
  if (!isInPlace) return "what was kept of it is gone";
  folder.unlink(file);
  return "removed";
}

/** Folders that were made for it, as far as nothing else is in them. */
async function removeFolders(
  host: FileHost,
  { made }: FileRecord,
  context: DriverContext,
): Promise<void> {
  for (const path of made.toReversed()) {
    const isGone = await inFolderOf(host, path, context, undefined, async ({ folder, file }) =>
      folder.removeEmpty(file),
    );
    if (isGone === false) return;
  }
}

/** A folder with all that is in it, by open folders: a link in it is removed and never followed. */
function emptyOut(parent: Folder, name: string): void {
  const found = parent.look(name);
  if (found === undefined) return;
  if (!found.isDirectory()) {
    parent.unlink(name);
    return;
  }
  const folder = parent.enter(name);
  try {
    for (const each of folder?.names() ?? []) if (folder !== undefined) emptyOut(folder, each);
  } finally {
    folder?.close();
  }
  parent.removeEmpty(name);
}
