/**
 * Ends one container: the spec's signal, time to finish, then SIGKILL by the engine; then the container, its folder in
 * memory and, with the last of them, its image and the instance's network. Never a named volume. Gone is success.
 */
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { DriverContext } from "../driver.ts";
import { type Copy, findCopy, hasContainers } from "./copies.ts";
import { isGone, isSettled } from "./faults.ts";
import { givenDirOf, removeGiven } from "./given.ts";
import type { ContainerHost } from "./host.ts";
import { releaseImage } from "./image.ts";
import { endMeter, sampleMeter } from "./meter.ts";
import { removeNetwork } from "./network.ts";
import { removeNotes, writeHealth } from "./notes.ts";

/** How long the engine may take to end a container after SIGKILL; longer means a stuck disk or mount. */
const KILL_WAIT_MS_MAX = 15_000;
const POLL_MS_FIRST = 20;
const POLL_MS_MAX = 200;
const UPDATE_TRIES_MAX = 20;

type StopSettings = Readonly<{ signal: string; graceMs: number }>;

/** Ends what lives of a copy and keeps its last readings; the container stays. Says how it ended. */
export async function endCopy(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
  settings: StopSettings = STOP_UNKNOWN,
): Promise<string> {
  let how = "had ended already";
  if (isLiving(copy)) {
    writeHealth(copy.runDir, { ...copy.health, stopping: true });
    how = await endContainer(host, copy, settings, context);
  }
  endMeter(copy, copy.exit?.at ?? context.clock.now(), context);
  return how;
}

export function isLiving({ state }: Copy): boolean {
  return state === "running" || state === "paused" || state === "restarting";
}

async function endContainer(
  host: ContainerHost,
  copy: Copy,
  { signal, graceMs }: StopSettings,
  context: DriverContext,
): Promise<string> {
  if (copy.restartPolicy !== "agent") await endRestarts(host, copy, context);
  if (copy.state === "paused") await tell(host, copy, context, (container) => container.unpause());
  await sampleMeter(host, copy, context);
  await tell(host, copy, context, (container) => container.kill({ signal }));
  if (await waitForEnd(host, copy, graceMs, context)) return `ended after ${signal}`;
  await tell(host, copy, context, (container) => container.kill({ signal: "SIGKILL" }));
  if (await waitForEnd(host, copy, KILL_WAIT_MS_MAX, context)) {
    return `it did not end within ${graceMs} ms after ${signal}; killed`;
  }
  const message = `${copy.handle}: still there ${KILL_WAIT_MS_MAX} ms after SIGKILL; the kernel waits for a device`;
  throw new Fault("DEADLINE_EXCEEDED", "CONTAINER_WILL_NOT_END", message);
}

/** The engine must not start again what is to end. It refuses while it is about to start it again. */
async function endRestarts(host: ContainerHost, copy: Copy, context: DriverContext): Promise<void> {
  const change = { RestartPolicy: { Name: "no" } };
  for (let tries = 1; ; tries++) {
    try {
      await tell(host, copy, context, (container) => container.update(change));
      return;
    } catch (error) {
      if (tries >= UPDATE_TRIES_MAX) throw error;
      await pause(POLL_MS_MAX, context);
    }
  }
}

type Container = ReturnType<import("../engine/dock.ts").Docker["getContainer"]>;

/** What is gone or so already was what was wanted. */
async function tell(
  { dock }: ContainerHost,
  { id, handle }: Copy,
  { signal }: DriverContext,
  what: (container: Container) => Promise<unknown>,
): Promise<void> {
  try {
    await dock.ask(handle, signal, (docker) => what(docker.getContainer(id)));
  } catch (error) {
    if (!isGone(error) && !isSettled(error)) throw error;
  }
}

/** Whether it ended in time. Measures as it goes, since nothing can be read afterwards. */
async function waitForEnd(
  host: ContainerHost,
  copy: Copy,
  msMax: number,
  context: DriverContext,
): Promise<boolean> {
  const { clock } = context;
  const deadline = clock.monotonic() + msMax;
  for (let waitMs = POLL_MS_FIRST; ; waitMs = Math.min(waitMs * 2, POLL_MS_MAX)) {
    const now = await findCopy(host, copy.key.instanceId, copy.handle, context);
    if (now === undefined || !isLiving(now)) return true;
    const left = deadline - clock.monotonic();
    if (left <= 0) return false;
    await pause(Math.min(waitMs, left), context);
    await sampleMeter(host, copy, context);
  }
}

/** The container and what only it needed. Anonymous volumes, which only an image asks for, go with it. */
export async function removeCopy(
  host: ContainerHost,
  copy: Copy,
  context: DriverContext,
): Promise<void> {
  await host.followers.drain(host, copy, context);
  await tell(host, copy, context, (container) => container.remove({ force: true, v: true }));
  removeGiven(givenDirOf(host, copy.key, copy.handle, context));
  removeNotes(copy.runDir);
  host.asked.forget(copy.runDir);
  try {
    await releaseImage(host, copy.image, context);
  } catch (error) {
    // It costs disk and nothing else.
    context.log.warn(
      { image: copy.image, error: causeChain(error) },
      "an image could not be removed",
    );
  }
}

/** The network goes with the last container, also one that was only made. */
export async function leaveInstance(
  host: ContainerHost,
  instanceId: string,
  context: DriverContext,
): Promise<void> {
  await host.turns.take(instanceId, async () => {
    if (await hasContainers(host, instanceId, context)) return;
    await removeNetwork(host, instanceId, context);
  });
}

/** Waits unless the agent is told to stop; then the step is left to be run again. */
export async function pause(ms: number, { clock, signal }: DriverContext): Promise<void> {
  if (ms > 0) await clock.sleep(ms, signal);
  if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
}
