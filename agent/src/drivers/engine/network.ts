/**
 * The private network of an instance: its containers find each other there by resource id, and nobody else is in it.
 * Made with the first container and gone with the last one.
 */
import type { DriverContext } from "../driver.ts";
import { isGone, isTaken, isUsed, unlessGone } from "./faults.ts";
import type { ContainerHost } from "./host.ts";
import { instanceName, LABEL } from "./marks.ts";

/** Call it in the instance's turn: the engine allows two networks of one name, which nobody could tell apart. */
export async function ensureNetwork(
  { dock }: Pick<ContainerHost, "dock">,
  instanceId: string,
  { stateDir, signal }: DriverContext,
): Promise<string> {
  const name = instanceName(stateDir, instanceId);
  if (await isThere({ dock }, name, signal)) return name;
  const labels = { [LABEL.state]: stateDir, [LABEL.instance]: instanceId };
  try {
    await dock.ask(`network ${name}`, signal, (docker) =>
      docker.createNetwork({ Name: name, CheckDuplicate: true, Driver: "bridge", Labels: labels }),
    );
  } catch (error) {
    if (!isTaken(error)) throw error;
  }
  return name;
}

async function isThere(
  { dock }: Pick<ContainerHost, "dock">,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  const asked = dock.ask(`network ${name}`, signal, (docker) => docker.getNetwork(name).inspect());
  return (await unlessGone(asked)) !== undefined;
}

/** Stays while a container is in it. */
export async function removeNetwork(
  { dock }: Pick<ContainerHost, "dock">,
  instanceId: string,
  { stateDir, signal }: DriverContext,
): Promise<void> {
  const name = instanceName(stateDir, instanceId);
  try {
    await dock.ask(`network ${name}`, signal, (docker) => docker.getNetwork(name).remove());
  } catch (error) {
    if (!isGone(error) && !isUsed(error)) throw error;
  }
}
