/**
 * Tells a running workload that a file it reads has changed. Most signals end a process that does not know them,
 * so only those processes are told that have a handler.
 */
import { constants } from "node:os";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import { inputOf } from "../copy-input.ts";
import type { StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { findCopies } from "../host-process/copies.ts";
import { signalProcess } from "../host-process/end.ts";
import { handlesSignal } from "../host-process/proc.ts";
import type { ProcessHost } from "./host.ts";

/** Those by which programs are told to look again. */
const NOTICES: readonly string[] = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"];

/**
 * Input: `instance`, `signal`. Goes to the first process of every living copy of the resource. Throws
 * INVALID_ARGUMENT `SIGNAL_REFUSED` for signals that mean something else.
 */
export async function signalResource(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const instanceId = input.instance();
  const signal = input.signal() ?? "SIGHUP";
  const number = constants.signals[signal as NodeJS.Signals];
  if (!NOTICES.includes(signal) || number === undefined) {
    throw new Fault(
      "INVALID_ARGUMENT",
      "SIGNAL_REFUSED",
      `signal: got ${shown(signal)}; allowed: ${NOTICES.join(", ")}`,
    );
  }
  const copies = (await findCopies(host, context)).filter(
    ({ key, running }) =>
      running && key.instanceId === instanceId && key.resourceId === order.resourceId,
  );
  const told = copies.filter(({ process }) => {
    if (process === undefined || !handlesSignal(host.procDir, process.pid, number)) return false;
    return signalProcess(host, process, signal);
  });
  return { message: `${signal} to ${told.length} of ${copies.length} copies` };
}
