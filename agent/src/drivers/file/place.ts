/**
 * Where the file of a resource is: below the instance's own folder `files/`, or below a folder that the customer's
 * configuration names. Opens the way to it name by name, so that nothing on it can be a link, whoever plants one.
 */
import { dirname, join, relative, sep } from "node:path";
import { isAbsolute } from "@holdfast/shared/blueprint/kinds/file-path.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { DriverContext } from "../driver.ts";
import type { Account } from "../host-process/account.ts";
import { codeOf, Folder } from "./folder.ts";
import type { FileHost } from "./host.ts";

export const FILES_FOLDER = "files";

/** The instance's own folder for files; absolute. */
export function ownFolder(instanceId: string, context: DriverContext): string {
  return join(dirname(context.directories(instanceId).run), FILES_FOLDER);
}

/** Absolute. Throws PERMISSION_DENIED `FILE_ROOT_NOT_ALLOWED` for a path that the configuration does not allow. */
export function pathOf(
  { roots }: Pick<FileHost, "roots">,
  path: string,
  instanceId: string,
  context: DriverContext,
): string {
  if (!isAbsolute(path)) return join(ownFolder(instanceId, context), path);
  const root = roots.find((each) => isBelow(path, each));
  const isAgents = isBelow(path, context.stateDir) || isBelow(context.stateDir, path);
  if (root !== undefined && !isAgents) return path;
  const allowed = isAgents ? "nothing of the agent itself" : roots.join(", ") || "no folder";
  const message = `path: got ${shown(path)}; file_roots allows: ${allowed}`;
  throw new Fault("PERMISSION_DENIED", "FILE_ROOT_NOT_ALLOWED", message, {
    next: "name a folder above it in file_roots of the agent's configuration, if it may",
  });
}

export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** How folders are made that are not there yet; undefined: they are not. */
export type Making = Readonly<{
  mode: number;
  account: Account | undefined;
  /** Those of the configuration are the customer's to make. */
  roots: readonly string[];
}>;

/** `file`: its name in the open folder. */
export type OpenPlace = Readonly<{ folder: Folder; file: string }>;

/**
 * Opens the folder of the file, works in it and closes it. undefined where a folder on the way is not there and none
 * is made. Throws FAILED_PRECONDITION `FILE_PATH_BLOCKED`, `FILE_ROOT_MISSING`.
 */
export async function inFolderOf<Result>(
  { procDir }: Pick<FileHost, "procDir">,
  path: string,
  { stateDir }: Pick<DriverContext, "stateDir">,
  making: Making | undefined,
  work: (place: OpenPlace) => Promise<Result>,
): Promise<Result | undefined> {
  // The way to its own directory the agent trusts; every other one begins at the root.
  const base = isBelow(path, stateDir) ? stateDir : sep;
  const names = relative(base, path).split(sep);
  const file = names.pop() ?? "";
  let folder = Folder.open(procDir, base);
  try {
    for (const name of names) {
      const next = enter(folder, name, making);
      if (next === undefined) return undefined;
      folder.close();
      folder = next;
    }
    return await work({ folder, file });
  } finally {
    folder.close();
  }
}

function enter(folder: Folder, name: string, making: Making | undefined): Folder | undefined {
  const found = folder.enter(name);
  if (found !== undefined || making === undefined) return found;
  const path = join(folder.path, name);
  const root = making.roots.find((each) => each === path || isBelow(each, path));
  if (root !== undefined) {
    const message = `${shown(root)} of file_roots is not there`;
    throw new Fault("FAILED_PRECONDITION", "FILE_ROOT_MISSING", message, {
      next: `mkdir -p ${root}`,
    });
  }
  try {
    return folder.make(name, making.mode, making.account);
  } catch (error) {
    // Another resource of the instance was quicker.
    if (codeOf(error) === "EEXIST") return folder.enter(name);
    throw error;
  }
}
