/**
 * Named volumes of an instance: data, which outlives containers and is never removed by what only ends them. A volume
 * belongs to the first user that mounts it, since without capabilities nobody in a container could take it.
 */
import { chownSync, lstatSync } from "node:fs";
import type { DriverContext, ResourceKey } from "../driver.ts";
import { isTaken, unlessGone } from "./faults.ts";
import type { ContainerHost } from "./host.ts";
import { LABEL, volumeName } from "./marks.ts";
import type { ContainerSpec } from "./spec.ts";

export async function ensureVolumes(
  { dock }: Pick<ContainerHost, "dock">,
  { instanceId }: ResourceKey,
  { volumes, user }: ContainerSpec,
  { stateDir, signal, log }: DriverContext,
): Promise<void> {
  for (const volume of Object.keys(volumes)) {
    const name = volumeName(stateDir, instanceId, volume);
    if (await isThere({ dock }, name, signal)) continue;
    const labels = {
      [LABEL.state]: stateDir,
      [LABEL.instance]: instanceId,
      [LABEL.volume]: volume,
    };
    try {
      const made = await dock.ask(`volume ${name}`, signal, async (docker) => {
        await docker.createVolume({ Name: name, Driver: "local", Labels: labels });
        return await docker.getVolume(name).inspect();
      });
      give(made.Mountpoint, user);
    } catch (error) {
      if (isTaken(error)) continue;
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      // Not root, or an engine elsewhere: then the image's own folder decides whose it is.
      log.warn({ volume: name }, "a new volume could not be given to the container's user");
    }
  }
}

function give(mountpoint: string, { uid, gid }: ContainerSpec["user"]): void {
  if (lstatSync(mountpoint).isDirectory()) chownSync(mountpoint, uid, gid);
}

async function isThere(
  { dock }: Pick<ContainerHost, "dock">,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const asked = dock.ask(`volume ${name}`, signal, (docker) => docker.getVolume(name).inspect());
  return (await unlessGone(asked)) !== undefined;
}
