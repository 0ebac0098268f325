/** The step that stops one copy: drains it, ends it, and removes what is left of it unless its restarts are to count. */

import { inputOf } from "../copy-input.ts";
import { STOP_UNKNOWN } from "../copy-plan.ts";
import type { StepContext, StepOrder, StepOutcome } from "../driver.ts";
import { findCopy } from "../host-process/copies.ts";
import { clearAway, endCopy, noteExit, pause, removeRest } from "../host-process/end.ts";
import type { ProcessHost } from "./host.ts";

export async function stopCopy(
  host: ProcessHost,
  order: StepOrder,
  context: StepContext,
): Promise<StepOutcome> {
  const input = inputOf(order);
  const key = { instanceId: input.instance(), resourceId: order.resourceId };
  const handle = input.handle();
  const found = await findCopy(host, context, key, handle);
  if (found === undefined) return removeRest(key, handle, context);
  if (found.members.length > 0) await pause(input.drainMs(), context);
  const known = found.record?.stop ?? STOP_UNKNOWN;
  const how = await endCopy(host, found, context, {
    signal: input.signal() ?? known.signal,
    graceMs: input.graceMs() ?? known.graceMs,
  });
  if (input.keep()) noteExit(found, context);
  else await clearAway(found, context);
  return { handle, message: how };
}
