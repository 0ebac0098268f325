/** Steps that end copies: one of them with the time that it drains, or all of an instance. */
import { rmSync } from "node:fs";
import { inputOf } from "../copy-input.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { DriverContext, StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { findCopies, findCopy } from "../engine/copies.ts";
import { endCopy, isLiving, leaveInstance, pause, removeCopy } from "../engine/end.ts";
import { givenDirOf, removeGiven, removeInstanceGiven } from "../engine/given.ts";
import type { ContainerHost } from "../engine/host.ts";
import { removeNotes, runDirOf } from "../engine/notes.ts";

export async function stopCopy(
  host: ContainerHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const instanceId = input.instance();
  const handle = input.handle();
  const copy = await findCopy(host, instanceId, handle, context);
  if (copy === undefined) {
    // Of a start that never came to a container, at most folders are left.
    const key = { instanceId, resourceId: order.resourceId };
    removeGiven(givenDirOf(host, key, handle, context));
    removeNotes(runDirOf(key, handle, context));
    await leaveInstance(host, instanceId, context);
    return { handle, message: "was gone already" };
  }
  if (isLiving(copy)) await pause(input.drainMs(), context);
  const message = await endCopy(host, copy, context, {
    signal: input.signal() ?? STOP_UNKNOWN.signal,
    graceMs: input.graceMs() ?? STOP_UNKNOWN.graceMs,
  });
  if (!input.keep()) {
    await removeCopy(host, copy, context);
    await leaveInstance(host, instanceId, context);
  }
  return { handle, message };
}

/** Ends all copies of an instance; its volumes, its data and its last readings stay. */
export async function dropInstance(
  host: ContainerHost,
  instanceId: string,
  context: DriverContext,
): Promise<void> {
  const own = (await findCopies(host, context)).filter(({ key }) => key.instanceId === instanceId);
  await Promise.all(own.map((copy) => endCopy(host, copy, context)));
  await Promise.all(own.map((copy) => removeCopy(host, copy, context)));
  await leaveInstance(host, instanceId, context);
  removeInstanceGiven(host, instanceId, context);
  const { run, logs } = context.directories(instanceId);
  for (const folder of [run, logs]) rmSync(folder, { recursive: true, force: true });
}
