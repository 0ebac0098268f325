/**
 * Housekeeping, once in a while on any replica: forgets what has run out, and makes the ledger's coming
 * months. Deletes nothing that a bill or the audit needs. Never throws.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import * as actions from "../store/actions.ts";
import * as certificates from "../store/certificates.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import * as idempotency from "../store/idempotency.ts";
import * as joinTokens from "../store/join-tokens.ts";
import { readWithContext, type Tx, withContext } from "../store/tx.ts";
import * as usageMonths from "../store/usage-months.ts";
import * as vendors from "../store/vendors.ts";

export const PRUNE_PAUSE_MS = 600_000;
/** Of one transaction. */
const ROWS_MAX = 1_000;

export type PruneDeps = Readonly<{ database: Database; clock: Clock; log: Log }>;

export async function runPrune(deps: PruneDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await prunePass(deps);
    await deps.clock.sleep(PRUNE_PAUSE_MS, signal);
  }
}

/** One round over all vendors; what is left over waits for the next one. */
export async function prunePass({ database, clock, log }: PruneDeps): Promise<void> {
  const jobs: readonly ((tx: Tx, limit: number) => Promise<number>)[] = [
    idempotency.prune,
    joinTokens.prune,
    certificates.prune,
    actions.prune,
  ];
  try {
    await usageMonths.ensure(database, clock.now());
    const all = await readWithContext(database, hubContext("prune"), vendors.list);
    for (const { id } of all) {
      for (const job of jobs) {
        await withContext(database, taskContext(id, "prune"), (tx) => job(tx, ROWS_MAX));
      }
    }
  } catch (error) {
    log.warn({ error: causeChain(error) }, "housekeeping failed; it is tried again");
  }
}
