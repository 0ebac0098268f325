/**
 * The directory data/ of every instance: told by this driver alone, whatever kind wrote into it, and removed only with
 * an order or an approval that the engine has checked.
 */
import { lstat, opendir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { idOf, isUuid } from "@holdfast/shared/ids.ts";
import type { DriverContext, KeptData } from "../driver.ts";

/** What people and destroy orders call the directory. */
export const DATA_NAME = "data";
/** Counted of one directory in one look; further ones add nothing to `bytes`. */
export const KEPT_FILES_MAX = 50_000;
/** Of st_blocks. */
const BLOCK_BYTES = 512;

const HEX_UUID = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/;

export async function keptData(
  { stateDir, signal }: Pick<DriverContext, "stateDir" | "signal">,
  isAsked: (data: Pick<KeptData, "instanceId">) => boolean = () => true,
): Promise<readonly KeptData[]> {
  const root = join(stateDir, "instances");
  const found: KeptData[] = [];
  for (const name of await namesIn(root)) {
    const uuid = HEX_UUID.exec(name)?.slice(1).join("-");
    if (uuid === undefined || !isUuid(uuid)) continue;
    const instanceId = idOf("instance", uuid);
    if (!isAsked({ instanceId })) continue;
    const place = join(root, name, DATA_NAME);
    if ((await namesIn(place)).length === 0) continue;
    const { birthtimeMs } = await stat(place);
    const bytes = await bytesIn(place, signal);
    const since = Math.floor(birthtimeMs);
    found.push({ instanceId, name: DATA_NAME, place, bytes, since });
  }
  return found;
}

/** The directory itself stays where the instance has others, since who runs there expects it. */
export async function destroyData(
  instanceId: string,
  context: DriverContext,
  names: readonly string[] | undefined,
): Promise<void> {
  if (names !== undefined && !names.includes(DATA_NAME)) return;
  const { data } = context.directories(instanceId);
  for (const name of await namesIn(data)) {
    context.signal.throwIfAborted();
    await rm(join(data, name), { recursive: true, force: true });
  }
}

/** Empty if there is no such directory. */
async function namesIn(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** On disk, links not followed. What goes away meanwhile is not counted. */
async function bytesIn(path: string, signal: AbortSignal): Promise<number> {
  let bytes = 0;
  let files = 0;
  const folders = [path];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = await opendir(folder).catch(() => undefined);
    if (entries === undefined) continue;
    for await (const entry of entries) {
      signal.throwIfAborted();
      if (++files > KEPT_FILES_MAX) return bytes;
      const child = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(child);
      const found = await lstat(child).catch(() => undefined);
      // Small files of some file systems take no blocks.
      bytes += found === undefined ? 0 : found.blocks * BLOCK_BYTES || found.size;
    }
  }
  return bytes;
}
