/**
 * Named volumes of every instance, in use or not: data, told by the labels that the engine keeps with them, and removed
 * only with an order or an approval that the agent has checked.
 */
import { readdir } from "node:fs/promises";
import { bytesIn } from "../disk-usage.ts";
import type { DriverContext, KeptData } from "../driver.ts";
import type { Docker } from "../engine/dock.ts";
import { isGone } from "../engine/faults.ts";
import type { ContainerHost } from "../engine/host.ts";
import { LABEL } from "../engine/marks.ts";
import { isInstanceId } from "../names.ts";

type Dock = Pick<ContainerHost, "dock">;

export async function keptVolumes(
  host: Dock,
  context: DriverContext,
): Promise<readonly KeptData[]> {
  const found: KeptData[] = [];
  for (const volume of await volumesOf(host, context)) {
    const instanceId = volume.Labels[LABEL.instance];
    const name = volume.Labels[LABEL.volume];
    if (!isInstanceId(instanceId) || name === undefined) continue;
    if (await isEmpty(volume.Mountpoint)) continue;
    const bytes = await bytesIn(volume.Mountpoint, context.signal);
    const { CreatedAt = "" } = volume as { CreatedAt?: string };
    const since = Date.parse(CreatedAt) || 0;
    found.push({ instanceId, name, place: volume.Name, bytes, since });
  }
  return found;
}

/** One that a container still uses is refused by the engine: `drop` comes first. */
export async function destroyVolumes(
  host: Dock,
  instanceId: string,
  context: DriverContext,
  names: readonly string[] | undefined,
): Promise<void> {
  for (const { Name, Labels } of await volumesOf(host, context)) {
    if (Labels[LABEL.instance] !== instanceId) continue;
    if (names !== undefined && !names.includes(Labels[LABEL.volume] ?? "")) continue;
    try {
      await host.dock.ask(`volume ${Name}`, context.signal, (docker) =>
        docker.getVolume(Name).remove(),
      );
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

async function volumesOf(
  { dock }: Dock,
  { stateDir, signal }: DriverContext,
): Promise<readonly Docker.VolumeInspectInfo[]> {
  const filters = JSON.stringify({ label: [`${LABEL.state}=${stateDir}`] });
  const { Volumes } = await dock.ask("volumes", signal, (docker) =>
    docker.listVolumes({ filters }),
  );
  // The engine gives them in no order.
  return (Volumes ?? []).toSorted((a, b) => (a.Name < b.Name ? -1 : 1));
}

/** What only root can look into may hold something. */
async function isEmpty(path: string): Promise<boolean> {
  try {
    return (await readdir(path)).length === 0;
  } catch {
    return false;
  }
}
