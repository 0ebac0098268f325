/** How much a directory takes on the disk, as far as a look at a bounded number of its files tells. */
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";

/** Counted of one directory in one look; further ones add nothing. */
export const KEPT_FILES_MAX = 50_000;
/** Of st_blocks. */
const BLOCK_BYTES = 512;

/** On disk, links not followed. What goes away meanwhile is not counted. */
export async function bytesIn(path: string, signal: AbortSignal): Promise<number> {
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
