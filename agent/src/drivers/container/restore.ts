/**
 * Looks at what others may have changed of the containers that run, brings it back without a new container, and hears
 * of the engine when something of ours is changed.
 */
import { inputOf } from "../copy-input.ts";
import type { DriverContext, JsonObject, StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { type Copy, findCopy, inspect } from "../engine/copies.ts";
import { limitsOf, policyOf } from "../engine/create.ts";
import { isSettled, isTaken } from "../engine/faults.ts";
import type { ContainerHost } from "../engine/host.ts";
import { hostName, instanceName, LABEL } from "../engine/marks.ts";
import { ensureNetwork } from "../engine/network.ts";
import { renderedSpecOf } from "../engine/spec.ts";
import { fieldsIn } from "./drift.ts";

/** undefined for a container that does not run. */
export async function fieldsOf(
  host: ContainerHost,
  { id, handle, key, state }: Copy,
  context: DriverContext,
): Promise<JsonObject | undefined> {
  if (state !== "running" && state !== "paused") return undefined;
  const found = await inspect(host, id, handle, context);
  return found && fieldsIn(found, instanceName(context.stateDir, key.instanceId));
}

export async function restoreCopy(
  host: ContainerHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const handle = input.handle();
  const copy = await findCopy(host, input.instance(), handle, context);
  const found = copy && (await inspect(host, copy.id, handle, context));
  if (copy === undefined || found === undefined || !found.State.Running) {
    return { handle, message: "it does not run any more" };
  }
  const spec = renderedSpecOf((await context.wanted(input.digest())).spec);
  const tell = <Answer>(what: (container: Container) => Promise<Answer>) =>
    host.dock.ask(handle, context.signal, (docker) => what(docker.getContainer(copy.id)));
  await tell((each) => each.update({ ...limitsOf(spec), RestartPolicy: { Name: policyOf(spec) } }));
  await join(host, copy, found.NetworkSettings.Networks, context);
  if (found.State.Paused) await tell((each) => each.unpause()).catch(unlessSettled);
  return { handle, message: "brought back" };
}

type Container = ReturnType<import("../engine/dock.ts").Docker["getContainer"]>;

async function join(
  host: ContainerHost,
  { id, key, handle }: Copy,
  joined: Readonly<Record<string, unknown>>,
  context: DriverContext,
): Promise<void> {
  const { instanceId, resourceId } = key;
  if (joined[instanceName(context.stateDir, instanceId)] !== undefined) return;
  await host.turns.take(instanceId, async () => {
    const name = await ensureNetwork(host, instanceId, context);
    const EndpointConfig = { Aliases: [resourceId, hostName(resourceId, handle)] };
    await host.dock
      .ask(`network ${name}`, context.signal, (docker) =>
        docker.getNetwork(name).connect({ Container: id, EndpointConfig }),
      )
      .catch((error: unknown) => {
        if (!isTaken(error)) throw error;
      });
  });
}

function unlessSettled(error: unknown): void {
  if (!isSettled(error)) throw error;
}

/** What the engine tells of our own containers. Ends with the engine; whoever wants more begins it again. */
export async function watchEngine(
  host: ContainerHost,
  { stateDir, signal }: DriverContext,
  changed: () => void,
): Promise<void> {
  const filters = { type: ["container"], label: [`${LABEL.state}=${stateDir}`], event: EVENTS };
  const stream = await host.dock.ask(
    "events",
    signal,
    (docker) => docker.getEvents({ filters: JSON.stringify(filters) }),
    "follow",
  );
  const leave = () => (stream as NodeJS.ReadableStream & { destroy(): void }).destroy();
  signal.addEventListener("abort", leave, { once: true });
  try {
    // What happened is looked at, not read: the next look says more than the event.
    for await (const _ of stream as AsyncIterable<Buffer>) changed();
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/** Not the health checks and the programs that are run inside, of which there may be many a second. */
const EVENTS = ["die", "oom", "pause", "unpause", "update", "destroy", "rename"];
