/**
 * Gives committed events their place: one hub process at a time, by a fenced lease per vendor. Looks for
 * itself what there is to do, at a ring or each second; never throws. It decides nothing about events.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { hubContext, taskContext } from "../store/context.ts";
import type { Database } from "../store/database.ts";
import { inOrder, place } from "../store/event-chain.ts";
import * as checkpoints from "../store/event-checkpoints.ts";
import * as events from "../store/events.ts";
import * as leases from "../store/leases.ts";
import { readWithContext, withContext } from "../store/tx.ts";
import * as vendors from "../store/vendors.ts";

/** A commit whose ring was lost, or that another replica made, waits this long at most. */
const POLL_MS_MAX = 500;
const LEASE_MS = 5_000;
const LEASE_NAME = "sequencer";
/** Of one transaction. */
export const BATCH_EVENTS_MAX = 500;
/** Signing is cheap, but each checkpoint is a row for good. */
export const CHECKPOINT_PAUSE_MS = 60_000;

export type SequencerDeps = Readonly<{
  database: Database;
  clock: Clock;
  log: Log;
  /** Names this process in the lease. */
  replica: string;
  /** Signs a checkpoint's text with a key of this vendor. */
  sign(vendorId: string, body: Uint8Array): Readonly<{ keyId: string; signature: Uint8Array }>;
  /** Rings watchers once events of the vendor have a place. */
  onSequenced(vendorId: string): void;
}>;

/** Runs until the signal. */
export async function runSequencer(deps: SequencerDeps, signal: AbortSignal): Promise<void> {
  const bell = deps.database.eventBell;
  signal.addEventListener("abort", () => bell.ring(), { once: true });
  const lastCheckpoint = new Map<string, number>();
  while (!signal.aborted) {
    const isMore = await runPass(deps, lastCheckpoint);
    if (!isMore && !signal.aborted) await bell.wait(POLL_MS_MAX);
  }
}

/** Whether a batch was full, so that there may be more. `lastCheckpoint` is in ms of the monotonic clock. */
async function runPass(deps: SequencerDeps, lastCheckpoint: Map<string, number>): Promise<boolean> {
  let isMore = false;
  // Another replica was faster, or the database is away: the next pass sees how things are.
  const failed = (error: unknown) => {
    const isExpected = error instanceof Fault && error.retryable;
    deps.log[isExpected ? "debug" : "error"]({ error: causeChain(error) }, "sequencing failed");
    return undefined;
  };
  const reading = readWithContext(deps.database, hubContext("sequencer"), vendors.list);
  const all = (await reading.catch(failed)) ?? [];
  for (const { id } of all) {
    const placed = (await sequence(deps, id).catch(failed)) ?? 0;
    if (placed > 0) deps.onSequenced(id);
    isMore ||= placed === BATCH_EVENTS_MAX;
    await checkpoint(deps, id, placed, lastCheckpoint).catch(failed);
  }
  return isMore;
}

/** Places one batch of a vendor's events, if this process holds the lease; returns how many. */
export function sequence(deps: SequencerDeps, vendorId: string): Promise<number> {
  return withContext(deps.database, taskContext(vendorId, "sequencer"), async (tx) => {
    const found = await events.waiting(tx, BATCH_EVENTS_MAX);
    if (found.length === 0) return 0;
    const lease = await leases.take(tx, LEASE_NAME, deps.replica, LEASE_MS);
    if (lease === undefined) return 0;
    // Under the lease's row lock: what another holder placed since the first look is not seen again.
    const still = await events.waiting(tx, BATCH_EVENTS_MAX);
    const tenantIds = [...new Set(still.map(({ tenantId }) => tenantId))];
    const { chains, feed } = await events.heads(tx, tenantIds);
    const { placed, heads } = place(inOrder(still), chains, feed);
    await events.writePlaces(tx, placed, heads, lease.fence);
    return placed.length;
  });
}

async function checkpoint(
  deps: SequencerDeps,
  vendorId: string,
  placed: number,
  last: Map<string, number>,
): Promise<void> {
  const now = deps.clock.monotonic();
  const isDue = now - (last.get(vendorId) ?? -CHECKPOINT_PAUSE_MS) >= CHECKPOINT_PAUSE_MS;
  if (placed === 0 || !isDue) return;
  await writeCheckpoint(deps, vendorId);
  last.set(vendorId, now);
}

/** Signs the heads as they are now. */
export function writeCheckpoint(deps: SequencerDeps, vendorId: string): Promise<void> {
  return withContext(deps.database, taskContext(vendorId, "sequencer"), async (tx) => {
    const draft = await checkpoints.draft(tx);
    if (draft === undefined) return;
    const { keyId, signature } = deps.sign(vendorId, Buffer.from(draft.body));
    await checkpoints.insert(tx, { ...draft, keyId, signature });
  });
}
