/**
 * Table usage_stream: how far each agent's stream is accepted, and whether an agent that opens goes on or
 * begins a new epoch. Epoch and sequence numbers are of transport only.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Context } from "./context.ts";
import type { Database } from "./database.ts";
import { type Tx, withContext } from "./tx.ts";

/** Chain head at the start of an epoch. */
export const EPOCH_START_HEAD: Uint8Array = new Uint8Array(32);
/** Of one page of series ends. */
export const SERIES_ENDS_MAX = 1_000;

/** Where an agent believes its stream is. `epoch` 0: it has none. */
export type StreamOpen = Readonly<{
  agentId: string;
  epoch: bigint;
  nextSeq: bigint;
  acceptedSeq: bigint;
  acceptedHead: Uint8Array;
  incarnation: bigint;
}>;

export type StreamState = Readonly<{
  epoch: bigint;
  incarnation: bigint;
  acceptedSeq: bigint;
  acceptedHead: Uint8Array;
  durableSeq: bigint;
}>;

export type StreamOpened = StreamState & Readonly<{ isResumed: boolean }>;

/**
 * Whether the agent's stream goes on where the hub's ends. Not when either of them lost what the other one
 * has: another incarnation or epoch, records that the agent no longer has, or another chain.
 */
export function isResumable(
  stored: StreamState | undefined,
  open: StreamOpen,
  incarnation: bigint,
): boolean {
  if (stored === undefined) return false;
  if (stored.incarnation !== incarnation || open.incarnation !== incarnation) return false;
  if (stored.epoch !== open.epoch) return false;
  // An agent whose store was rolled back would give numbers again that were accepted before.
  if (open.nextSeq <= stored.acceptedSeq || open.acceptedSeq > stored.acceptedSeq) return false;
  const isSame = Buffer.from(open.acceptedHead).equals(stored.acceptedHead);
  return open.acceptedSeq < stored.acceptedSeq || isSame;
}

/** Resumes the stream or begins a new epoch, above any that the agent or the hub knows. */
export function openStream(
  database: Database,
  context: Context,
  open: StreamOpen,
  incarnation: bigint,
): Promise<StreamOpened> {
  return withContext(database, context, async (tx) => {
    const stored = await lock(tx, open.agentId);
    if (stored !== undefined && isResumable(stored, open, incarnation)) {
      return { ...stored, isResumed: true };
    }
    const known = stored !== undefined && stored.epoch > open.epoch ? stored.epoch : open.epoch;
    const fresh: StreamState = {
      epoch: known + 1n,
      incarnation,
      acceptedSeq: 0n,
      acceptedHead: EPOCH_START_HEAD,
      durableSeq: 0n,
    };
    await begin(tx, open.agentId, fresh);
    return { ...fresh, isResumed: false };
  });
}

async function lock(tx: Tx, agentId: string): Promise<StreamState | undefined> {
  const rows = await tx.query<StreamState>(
    `select epoch, incarnation, accepted_seq as "acceptedSeq", accepted_head as "acceptedHead",
            durable_seq as "durableSeq"
       from usage_stream where agent_id = $1 for update`,
    [agentId],
  );
  return rows[0];
}

async function begin(tx: Tx, agentId: string, state: StreamState): Promise<void> {
  const rows = await tx.query(
    `insert into usage_stream as s (tenant_id, cell_id, agent_id, epoch, incarnation, accepted_head)
     select tenant_id, cell_id, id, $2, $3, $4 from agent where id = $1
     on conflict (vendor_id, tenant_id, agent_id) do update
       set epoch = excluded.epoch, incarnation = excluded.incarnation, accepted_seq = 0, durable_seq = 0,
           accepted_head = excluded.accepted_head, opened_at = now()
     where s.epoch < excluded.epoch
     returning 1`,
    [agentId, state.epoch, state.incarnation, state.acceptedHead],
  );
  if (rows.length === 0) {
    throw new Fault(
      "ABORTED",
      "STREAM_RACE",
      "the agent is unknown or opens its stream twice at once",
    );
  }
}

/** How far a stream is accepted; undefined before it was first opened. */
export async function get(tx: Tx, agentId: string): Promise<StreamState | undefined> {
  const rows = await tx.query<StreamState>(
    `select epoch, incarnation, accepted_seq as "acceptedSeq", accepted_head as "acceptedHead",
            durable_seq as "durableSeq"
       from usage_stream where agent_id = $1`,
    [agentId],
  );
  return rows[0];
}

export type SeriesEnd = Readonly<{ digest: Uint8Array; windowEndMs: bigint }>;

/** Of all series of the cell, by digest, after `after` (empty: the first page). At most SERIES_ENDS_MAX. */
export function seriesEnds(tx: Tx, cellId: string, after: Uint8Array): Promise<SeriesEnd[]> {
  return tx.query<SeriesEnd>(
    `select digest, last_window_end_ms as "windowEndMs" from usage_series
      where cell_id = $1 and digest > $2 order by digest limit ${SERIES_ENDS_MAX}`,
    [cellId, after],
  );
}
