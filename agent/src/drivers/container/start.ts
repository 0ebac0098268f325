/**
 * Starts one copy, at most once per name. States of a start: nothing → container made, with its labels → container
 * started. A crash between any two is mended by running the same order again: a container of that name is started if
 * it never was, and otherwise taken over as it is.
 */
import { causeChain } from "@holdfast/shared/fault.ts";
import { inputOf } from "../copy-input.ts";
import type { DriverContext, StepContext, StepOrder, StepOutcome, Wanted } from "../driver.ts";
import { type Copy, findCopies, findCopy } from "../engine/copies.ts";
import { endCopy, removeCopy } from "../engine/end.ts";
import { isGone, portTaken } from "../engine/faults.ts";
import type { ContainerHost } from "../engine/host.ts";
import { launchContainer, makeContainer } from "../engine/make.ts";
import { type ContainerSpec, portsOf, renderedSpecOf } from "../engine/spec.ts";
import { outputsOf } from "./live.ts";
import { choosePorts, portInUse, publishedPorts } from "./ports.ts";

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

/** The container with ports that nobody has, without starting it. */
async function make(
  host: ContainerHost,
  start: Start,
  refused: ReadonlySet<number>,
  context: DriverContext,
): Promise<Copy> {
  const taken = await publishedPorts(host, context);
  const copies = await findCopies(host, context);
  const used = [
    ...taken.map(({ port }) => port),
    ...copies.flatMap(({ ports }) => Object.values(ports)),
  ];
  const ports = choosePorts(portsOf(start.spec), new Set([...used, ...refused]), {
    random: context.random,
    portMax: host.ephemeralPortMin(),
  });
  return await makeContainer(host, { ...start, ports }, context);
}

async function launch(
  host: ContainerHost,
  start: Start,
  copy: Copy,
  context: DriverContext,
): Promise<StepOutcome> {
  await launchContainer(host, start, copy, context);
  const message = `started as container ${copy.id.slice(0, 12)}`;
  return { handle: start.handle, outputs: outputsOf(copy), message };
}
