/**
 * Table usage_stream: how far each agent's stream is accepted, and whether an agent that opens goes on or
 * begins a new epoch. Epoch and sequence numbers are of transport only.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

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

/**
 * Resumes each stream or begins a new epoch, above any that the agent or the hub knows. In the order of the opens; an
 * agent that is unknown, or opens its stream twice at once, has the Fault ABORTED `STREAM_RACE`.
 */
export async function openAll(
  tx: Tx,
  opens: readonly StreamOpen[],
  incarnation: bigint,
): Promise<readonly (StreamOpened | Fault)[]> {
  const stored = await lockAll(
    tx,
    opens.map(({ agentId }) => agentId),
  );
  const wanted = opens.map((open) => opening(stored.get(open.agentId), open, incarnation));
  const begun = await beginAll(
    tx,
    wanted.filter(({ isResumed }) => !isResumed),
  );
  return wanted.map((each) => (each.isResumed || begun.has(each.agentId) ? each : raced()));
}

type Opening = StreamOpened & Readonly<{ agentId: string }>;

function opening(stored: StreamState | undefined, open: StreamOpen, incarnation: bigint): Opening {
  const { agentId } = open;
  if (stored !== undefined && isResumable(stored, open, incarnation)) {
    return { ...stored, agentId, isResumed: true };
  }
  const known = stored !== undefined && stored.epoch > open.epoch ? stored.epoch : open.epoch;
  const acceptedHead = EPOCH_START_HEAD;
  const from = { acceptedSeq: 0n, durableSeq: 0n, acceptedHead };
  return { agentId, epoch: known + 1n, incarnation, ...from, isResumed: false };
}

function raced(): Fault {
  const message = "the agent is unknown or opens its stream twice at once";
  return new Fault("ABORTED", "STREAM_RACE", message);
}

async function lockAll(
  tx: Tx,
  agentIds: readonly string[],
): Promise<ReadonlyMap<string, StreamState>> {
  // In one order, so that two transactions never wait for each other.
  const rows = await tx.query<StreamState & Readonly<{ agentId: string }>>(
    `select agent_id as "agentId", epoch, incarnation, accepted_seq as "acceptedSeq",
            accepted_head as "acceptedHead", durable_seq as "durableSeq"
       from usage_stream where agent_id = any ($1::uuid[]) order by agent_id for update`,
    [agentIds],
  );
  return new Map(rows.map((each) => [each.agentId, each]));
}

/** Returns the agents whose streams have begun. */
async function beginAll(tx: Tx, fresh: readonly Opening[]): Promise<ReadonlySet<string>> {
  if (fresh.length === 0) return new Set();
  // The second condition leads to the index; the planner would read all agents of the vendor for each stream.
  const rows = await tx.query<{ agentId: string }>(
    `insert into usage_stream as s (tenant_id, cell_id, agent_id, epoch, incarnation, accepted_head)
     select a.tenant_id, a.cell_id, a.id, o.epoch, o.incarnation, o.head
       from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[])
            as o (agent_id, epoch, incarnation, head)
       join agent a on a.id = o.agent_id and a.id = any ($1::uuid[])
      order by a.id
     on conflict (vendor_id, tenant_id, agent_id) do update
       set epoch = excluded.epoch, incarnation = excluded.incarnation, accepted_seq = 0, durable_seq = 0,
           accepted_head = excluded.accepted_head, opened_at = now()
     where s.epoch < excluded.epoch
     returning s.agent_id as "agentId"`,
    [
      fresh.map(({ agentId }) => agentId),
      fresh.map(({ epoch }) => epoch),
      fresh.map(({ incarnation }) => incarnation),
      fresh.map(({ acceptedHead }) => acceptedHead),
    ],
  );
  return new Set(rows.map(({ agentId }) => agentId));
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
