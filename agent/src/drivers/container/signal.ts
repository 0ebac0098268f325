/**
 * Tells a running workload that a file it reads has changed: the seat list is put where it sees it, then the signal.
 * Most signals end a process that does not know them, so only those are told that have a handler.
 */
import { constants } from "node:os";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { inputOf } from "../copy-input.ts";
import type { DriverContext, StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { type Copy, findCopies, inspect } from "../engine/copies.ts";
import { isGone, isSettled } from "../engine/faults.ts";
import { givenDirOf, writeSeats } from "../engine/given.ts";
import type { ContainerHost } from "../engine/host.ts";

/** Those by which programs are told to look again. */
const NOTICES: readonly string[] = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"];

/** Input: `instance`, `signal`. Throws INVALID_ARGUMENT `SIGNAL_REFUSED` for signals that mean something else. */
export async function signalResource(
  host: ContainerHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const instanceId = input.instance();
  const signal = input.signal() ?? "SIGHUP";
  if (!NOTICES.includes(signal)) {
    const message = `signal: got ${shown(signal)}; allowed: ${NOTICES.join(", ")}`;
    throw new Fault("INVALID_ARGUMENT", "SIGNAL_REFUSED", message);
  }
  const copies = (await findCopies(host, context)).filter(
    ({ key, state }) =>
      state === "running" && key.instanceId === instanceId && key.resourceId === order.resourceId,
  );
  let told = 0;
  for (const copy of copies) {
    writeSeats(givenDirOf(host, copy.key, copy.handle, context), instanceId, context);
    if (await tell(host, copy, signal, context)) told += 1;
  }
  return { message: `${signal} to ${told} of ${copies.length} copies` };
}

async function tell(
  host: ContainerHost,
  { id, handle }: Copy,
  signal: string,
  context: DriverContext,
): Promise<boolean> {
  const pid = (await inspect(host, id, handle, context))?.State.Pid ?? 0;
  const number = constants.signals[signal as NodeJS.Signals];
  if (pid <= 0 || !host.handlesSignal(pid, number)) return false;
  try {
    await host.dock.ask(handle, context.signal, (docker) =>
      docker.getContainer(id).kill({ signal }),
    );
    return true;
  } catch (error) {
    if (isGone(error) || isSettled(error)) return false;
    throw error;
  }
}
