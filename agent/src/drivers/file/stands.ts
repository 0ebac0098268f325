/** What stands at the path of a file that is to be written, and whether it may be written over. */
import type { Stats } from "node:fs";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { ResourceKey } from "../driver.ts";
import type { Copy } from "./copies.ts";
import { blocked } from "./folder.ts";
import type { OpenPlace } from "./place.ts";

/** `over`: the copy whose file it is; undefined: it is nobody's of this agent. */
export type Standing = Readonly<{ found: Stats; over: Copy | undefined }>;

/**
 * undefined: nothing stands there. Throws FAILED_PRECONDITION `FILE_PATH_BLOCKED` for a link, a folder, a device and
 * the like, `FILE_HARD_LINKED` for a foreign file with further names, `FILE_TAKEN` for one of another resource.
 */
export function standingAt(
  { folder, file }: Pick<OpenPlace, "folder" | "file">,
  path: string,
  key: ResourceKey,
  copies: readonly Copy[],
): Standing | undefined {
  const holder = copies.find(({ record, state }) => record.path === path && state === "in place");
  const isOwn =
    holder?.key.instanceId === key.instanceId && holder.key.resourceId === key.resourceId;
  if (holder !== undefined && !isOwn) {
    const { resourceId, instanceId } = holder.key;
    const message = `${shown(path)}: it is the file of ${resourceId} of ${instanceId} on this agent`;
    throw new Fault("FAILED_PRECONDITION", "FILE_TAKEN", message);
  }
  const found = folder.look(file);
  if (found === undefined) return undefined;
  if (!found.isFile()) throw blocked(path, whatIs(found));
  if (holder === undefined && found.nlink > 1) {
    const message = `${shown(path)}: a file with ${found.nlink} names (hard links); allowed: one`;
    throw new Fault("FAILED_PRECONDITION", "FILE_HARD_LINKED", message);
  }
  return { found, over: holder };
}

function whatIs(found: Stats): string {
  if (found.isSymbolicLink()) return "a link, which is not followed";
  if (found.isDirectory()) return "a folder";
  if (found.isFIFO() || found.isSocket()) return "a pipe or a socket";
  return "a device";
}
