/**
 * The directory data/ of every instance: told by this driver alone, whatever kind wrote into it, and removed only with
 * an order or an approval that the engine has checked.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { idOf, isUuid } from "@holdfast/shared/ids.ts";
import { bytesIn } from "../disk-usage.ts";
import type { DriverContext, KeptData } from "../driver.ts";

/** What people and destroy orders call the directory. */
export const DATA_NAME = "data";

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
