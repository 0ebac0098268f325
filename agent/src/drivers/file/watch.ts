/**
 * Hears from the kernel when somebody changes a file of ours, or what stands in its place. Watches folders, since files are
 * replaced as a whole; only those that a look has found, and a bounded number of them. Nothing depends on it: what it
 * misses, such as a folder above that is moved away, the next look finds.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { basename } from "node:path";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { DriverContext } from "../driver.ts";
import type { FileHost } from "./host.ts";

/** The kernel gives an account some 8,000 and more, for all of its programs. */
export const WATCHED_FOLDERS_MAX = 1_000;
/** How soon a folder that is new, or another one than before, is watched. */
const FOLLOW_MS = 5_000;

type Watched = Readonly<{ watcher: FSWatcher; ino: bigint; dev: bigint }>;

/** Until the agent ends. `changed` is called for names of ours alone, however much is written beside them. */
export async function watchFiles(
  { seen }: Pick<FileHost, "seen">,
  { clock, signal, log }: Pick<DriverContext, "clock" | "signal" | "log">,
  changed: () => void,
): Promise<void> {
  const watched = new Map<string, Watched>();
  const leave = (folder: string) => {
    watched.get(folder)?.watcher.close();
    watched.delete(folder);
  };
  try {
    while (!signal.aborted) {
      const places = seen.places();
      for (const [folder, its] of watched) {
        if (!places.has(folder) || !isSame(folder, its)) leave(folder);
      }
      for (const folder of places.keys()) {
        if (watched.size >= WATCHED_FOLDERS_MAX) break;
        if (watched.has(folder)) continue;
        const isOurs = (name: string | null) =>
          name === null ||
          name === basename(folder) ||
          seen.places().get(folder)?.has(name) === true;
        try {
          const its = begin(folder, (name) => void (isOurs(name) && changed()));
          if (its !== undefined) watched.set(folder, its);
        } catch (error) {
          // Such as where the kernel gives no more watches.
          log.debug({ folder, error: causeChain(error) }, "the folder is not watched");
        }
      }
      await clock.sleep(FOLLOW_MS, signal);
    }
  } finally {
    for (const folder of [...watched.keys()]) leave(folder);
  }
}

function begin(folder: string, heard: (name: string | null) => void): Watched | undefined {
  const found = statSync(folder, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return undefined;
  const { ino, dev } = found;
  const watcher = watch(folder, { persistent: false }, (_, name) => heard(name));
  // A folder that goes away ends its watch; it is looked at again with the others.
  watcher.on("error", () => heard(null));
  return { watcher, ino, dev };
}

/** Whether the path still leads to what is watched. */
function isSame(folder: string, { ino, dev }: Watched): boolean {
  const found = statSync(folder, { bigint: true, throwIfNoEntry: false });
  return found?.ino === ino && found.dev === dev;
}
