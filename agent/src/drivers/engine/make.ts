/**
 * A container with all that it needs, made and started, at most once per name: what was made before is found by its
 * labels. Used alike for what serves and for what runs to its end.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { type Copy, findCopy } from "./copies.ts";
import { type Creation, containerOf } from "./create.ts";
import { isSettled, isTaken } from "./faults.ts";
import { checkGiven, writeGiven } from "./given.ts";
import type { ContainerHost } from "./host.ts";
import { ensureImage, type ReadyImage } from "./image.ts";
import { beginMeter } from "./meter.ts";
import { resolveMounts } from "./mounts.ts";
import { ensureNetwork } from "./network.ts";
import type { ContainerSpec } from "./spec.ts";
import { refuseUnsuitable } from "./suitable.ts";
import { ensureVolumes } from "./volumes.ts";

/** What a start is of, before it is known where its image, its mounts and its network are. */
export type Making = Omit<Creation, "stateDir" | "image" | "network" | "given" | "mounts">;

/**
 * Tries what can fail in a start before anything is changed, the loading of the image included. Throws
 * FAILED_PRECONDITION `ENGINE_UNSUITABLE`, `LIMIT_UNSUPPORTED`, `GPU_MISSING`, `SECRET_MISSING`, `MOUNT_MISSING`; PERMISSION_DENIED
 * `MOUNT_NOT_ALLOWED`; and what ensureImage does.
 */
export async function prepareMaking(
  host: ContainerHost,
  wanted: Wanted,
  spec: ContainerSpec,
  context: DriverContext,
): Promise<ReadyImage> {
  resolveMounts(host, spec, context);
  checkGiven(host, wanted, spec);
  await refuseUnsuitable(host, spec, context.signal);
  return await ensureImage(host, wanted, spec.image, context);
}

/** Without starting it. */
export async function makeContainer(
  host: ContainerHost,
  making: Making,
  context: DriverContext,
): Promise<Copy> {
  const { wanted, spec, handle } = making;
  const { key } = wanted;
  const mounts = resolveMounts(host, spec, context);
  const image = await ensureImage(host, wanted, spec.image, context);
  const given = writeGiven(host, wanted, spec, handle, context);
  await host.turns.take(key.instanceId, async () => {
    const network = await ensureNetwork(host, key.instanceId, context);
    await ensureVolumes(host, key, spec, context);
    const { stateDir } = context;
    const options = containerOf({ ...making, stateDir, image, network, given, mounts });
    try {
      await host.dock.ask(handle, context.signal, (docker) => docker.createContainer(options));
    } catch (error) {
      if (!isTaken(error)) throw error;
    }
  });
  const made = await findCopy(host, key.instanceId, handle, context);
  if (made !== undefined) return made;
  const message = `${handle}: another container has its name and not its labels`;
  throw new Fault("ALREADY_EXISTS", "CONTAINER_NAME_TAKEN", message);
}

export async function launchContainer(
  host: ContainerHost,
  { wanted, spec, handle }: Pick<Making, "wanted" | "spec" | "handle">,
  copy: Copy,
  context: DriverContext,
): Promise<void> {
  // Again, since memory is empty after the host was switched off.
  writeGiven(host, wanted, spec, handle, context);
  try {
    await host.dock.ask(handle, context.signal, (docker) => docker.getContainer(copy.id).start());
  } catch (error) {
    if (!isSettled(error)) throw error;
  }
  beginMeter(host, copy);
}
