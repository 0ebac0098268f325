/**
 * Ends orders that will not be answered: those whose time was over before an agent came, and those that an agent was
 * given so long ago that it has forgotten them. On any replica; never throws.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { endAction } from "../app/actions.ts";
import { NEVER_GIVEN } from "../app/link/orders.ts";
import * as actions from "../store/actions.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import { readWithContext, withContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";

export const EXPIRE_PAUSE_MS = 5_000;
/** After its time; an agent may come back after weeks and answer. */
export const ANSWER_MS_MAX = 35 * 86_400_000;
/** Of one transaction. */
const ROWS_MAX = 500;

const HUB = { principal: "hub/actions", permission: "", requestId: "" } as const;

export type ExpireDeps = Readonly<{ database: Database; clock: Clock; log: Log }>;

export async function runExpireActions(deps: ExpireDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await expirePass(deps);
    await deps.clock.sleep(EXPIRE_PAUSE_MS, signal);
  }
}

/** One round over all vendors; what is left over waits for the next one. */
export async function expirePass({ database, clock, log }: ExpireDeps): Promise<void> {
  try {
    const all = await readWithContext(database, hubContext("actions"), vendors.list);
    for (const { id } of all) {
      await withContext(database, taskContext(id, "actions"), async (tx) => {
        const at = new Date(clock.now());
        const overdue = await actions.lockOverdue(tx, at, ANSWER_MS_MAX, ROWS_MAX);
        for (const row of overdue) await endAction(tx, HUB, row, { ...endOf(row), at });
      });
    }
  } catch (error) {
    log.warn({ error: causeChain(error) }, "late actions were not ended; it is tried again");
  }
}

function endOf({ sentAt }: actions.ActionRow): Omit<actions.End, "at"> {
  if (sentAt === null) return { state: "EXPIRED", ...NEVER_GIVEN };
  const message = "the agent never answered; whether it was done is not known";
  return { state: "FAILED", reason: "NO_ANSWER", message };
}
