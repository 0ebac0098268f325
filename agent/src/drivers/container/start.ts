/**
 * Starts one copy, at most once per name. States of a start: nothing → container made, with its labels → container
 * started. A crash between any two is mended by running the same order again: a container of that name is started if
 * it never was, and otherwise taken over as it is.
 */
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { inputOf } from "../copy-input.ts";
import type { DriverContext, StepContext, StepOrder, StepOutcome, Wanted } from "../driver.ts";
import { type Copy, findCopies, findCopy } from "./copies.ts";
import { containerOf } from "./create.ts";
import { isGone, isSettled, isTaken, portTaken } from "./faults.ts";
import { writeGiven } from "./given.ts";
import type { ContainerHost } from "./host.ts";
import { ensureImage } from "./image.ts";
import { outputsOf } from "./live.ts";
import { beginMeter } from "./meter.ts";
import { resolveMounts } from "./mounts.ts";
import { ensureNetwork } from "./network.ts";
import { choosePorts, portInUse, publishedPorts } from "./ports.ts";
import { type ContainerSpec, portsOf, renderedSpecOf } from "./spec.ts";
import { endCopy, removeCopy } from "./stop.ts";
import { ensureVolumes } from "./volumes.ts";

/** Ports that the engine refuses, or images that go in this very moment, before giving up. */
const TRIES_MAX = 10;

export async function startCopy(
  host: ContainerHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const wanted = await context.wanted(input.digest());
  const handle = input.handle();
  const { instanceId } = wanted.key;
  const all = await findCopies(host, context);
  const mine = all.filter(({ key }) => key.instanceId === instanceId);
  const replaced = input
    .replaces()
    .flatMap((name) => mine.find((each) => each.handle === name && name !== handle) ?? [])
    .filter(({ state }) => state !== "running");
  for (const copy of replaced) await endCopy(host, copy, context);
  const spec = renderedSpecOf(wanted.spec);
  const start: Start = { wanted, spec, handle, restarts: input.restarts() };
  const outcome = await begin(host, start, context);
  for (const copy of replaced) await removeCopy(host, copy, context);
  return outcome;
}

type Start = Readonly<{ wanted: Wanted; spec: ContainerSpec; handle: string; restarts: number }>;

async function begin(
  host: ContainerHost,
  start: Start,
  context: StepContext,
): Promise<StepOutcome> {
  const { wanted, handle } = start;
  const refused = new Set<number>();
  for (let tries = 1; ; tries++) {
    const found = await findCopy(host, wanted.key.instanceId, handle, context);
    if (found !== undefined && found.state !== "created") return takenOver(found);
    const copy = found ?? (await make(host, start, refused, context));
    try {
      return await launch(host, start, copy, context);
    } catch (error) {
      // No process came of it, so nothing of it is worth keeping.
      await clearAway(host, copy, context);
      const port = portTaken(error);
      if (port === undefined && !isGone(error)) throw error;
      refuseFixed(start.spec, port);
      for (const each of Object.values(copy.ports)) refused.add(each);
      if (tries >= TRIES_MAX) throw error;
    }
  }
}

/** An engine that went away in the middle is told later, by the undo of this start. */
async function clearAway(host: ContainerHost, copy: Copy, context: DriverContext): Promise<void> {
  try {
    await removeCopy(host, copy, context);
  } catch (error) {
    context.log.warn(
      { copy: copy.handle, error: causeChain(error) },
      "a start could not be cleared",
    );
  }
}

/** A fixed port does not get free by trying again. */
function refuseFixed(spec: ContainerSpec, taken: number | undefined): void {
  if (taken === undefined) return;
  for (const [name, fixed] of portsOf(spec)) {
    if (fixed === undefined || (taken !== 0 && taken !== fixed)) continue;
    throw portInUse(name, fixed, "somebody else since a moment ago");
  }
}

function takenOver(copy: Copy): StepOutcome {
  const { handle, state } = copy;
  const message = state === "running" ? "was started before" : "was started before and has ended";
  return { handle, outputs: outputsOf(copy), message };
}

/** The container and all that it needs, without starting it. */
async function make(
  host: ContainerHost,
  { wanted, spec, handle, restarts }: Start,
  refused: ReadonlySet<number>,
  context: DriverContext,
): Promise<Copy> {
  const { key } = wanted;
  const mounts = resolveMounts(host, spec, context);
  const image = await ensureImage(host, wanted, spec.image, context);
  const taken = await publishedPorts(host, context);
  const copies = await findCopies(host, context);
  const used = [
    ...taken.map(({ port }) => port),
    ...copies.flatMap(({ ports }) => Object.values(ports)),
  ];
  const ports = choosePorts(portsOf(spec), new Set([...used, ...refused]), {
    random: context.random,
    portMax: host.ephemeralPortMin(),
  });
  const given = writeGiven(host, wanted, spec, handle, context);
  await host.turns.take(key.instanceId, async () => {
    const network = await ensureNetwork(host, key.instanceId, context);
    await ensureVolumes(host, key, spec, context);
    const { stateDir } = context;
    const options = containerOf({
      ...{ stateDir, wanted, spec, handle, restarts, image, ports, network, given, mounts },
    });
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

async function launch(
  host: ContainerHost,
  { wanted, spec, handle }: Start,
  copy: Copy,
  context: DriverContext,
): Promise<StepOutcome> {
  // Again, since memory is empty after the host was switched off.
  writeGiven(host, wanted, spec, handle, context);
  try {
    await host.dock.ask(handle, context.signal, (docker) => docker.getContainer(copy.id).start());
  } catch (error) {
    if (!isSettled(error)) throw error;
  }
  beginMeter(host, copy);
  const message = `started as container ${copy.id.slice(0, 12)}`;
  return { handle, outputs: outputsOf(copy), message };
}
