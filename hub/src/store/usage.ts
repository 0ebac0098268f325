/**
 * Tables usage_record, usage_series and usage_quarantine: taking batches, and sums for people and bills.
 * What is in the ledger never changes; a record that is not believed is set aside with its reason.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import { MAX_UUID, NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Context } from "./context.ts";
import type { Database } from "./database.ts";
import { callOnce } from "./statement.ts";
import type { Tx } from "./tx.ts";

/** Later than this a window is not billed by itself (readings wait 30 days in an agent at most). */
export const USAGE_LATE_MS_MAX = 35 * 86_400_000;
/** Tolerance for an agent's clock. */
export const USAGE_FUTURE_MS_MAX = 300_000;
/** Of one batch. */
export const BATCH_RECORDS_MAX = 1_000;
export const USAGE_LINES_MAX = 501;

export type RecordKind = "counter" | "window" | "occurrence" | "gap";
const KINDS = { counter: 1, window: 2, occurrence: 3, gap: 4 } as const satisfies Record<
  RecordKind,
  number
>;

export type UsageSeries = Readonly<{
  /** SHA-256 that identifies it everywhere, computed by the hub from the fields. */
  digest: Uint8Array;
  instanceId: string;
  seatId: string;
  meter: string;
  resource: string;
  source: string;
  dimensions: Readonly<Record<string, string>>;
}>;

export type UsageRecord = Readonly<{
  seq: bigint;
  /** Index into the batch's series. */
  series: number;
  windowStartMs: bigint;
  windowEndMs: bigint;
  kind: RecordKind;
  /** A counter's reading at the window's end, a window's or an occurrence's value, 0 for a gap. */
  value: bigint;
  /** Fold of a window value, id of an occurrence, reason of a gap; empty for a counter. */
  detail: string;
}>;

export type UsageBatch = Readonly<{
  agentId: string;
  epoch: bigint;
  incarnation: bigint;
  firstSeq: bigint;
  /** 32 bytes. */
  previousHead: Uint8Array;
  head: Uint8Array;
  series: readonly UsageSeries[];
  /** Consecutive from firstSeq on; 1 to BATCH_RECORDS_MAX. */
  records: readonly UsageRecord[];
}>;

/** Not listed: accepted. */
export type UsageVerdict = Readonly<{
  seq: bigint;
  verdict: "duplicate" | "quarantined";
  /** SERIES_UNKNOWN, SEAT_UNKNOWN, METER_UNKNOWN, KIND_WRONG, VALUE_RANGE, WINDOW_*, DECREASED or CONFLICT; empty for a duplicate. */
  reason: string;
}>;

export type IngestAnswer =
  | Readonly<{
      kind: "accepted";
      acceptedSeq: bigint;
      durableSeq: bigint;
      verdicts: readonly UsageVerdict[];
    }>
  | Readonly<{
      kind: "fenced";
      /** EPOCH_OLD, INCARNATION_OLD, EXPECTED_SEQ, CHAIN_BROKEN or IDENTITY_FORKED. */
      reason: string;
      expectedSeq: bigint;
    }>;

/**
 * Takes a batch in one statement. The caller has checked the batch's signature and that its agent is the one
 * of the context. May be repeated: what is there already is acknowledged again.
 */
export async function ingest(
  database: Database,
  context: Context,
  batch: UsageBatch,
): Promise<IngestAnswer> {
  checkShape(batch);
  const body = bodyOf(batch, database.clock.now());
  return answerOf(await callOnce<RawAnswer>(database, context, "wall.usage_ingest", body));
}

function checkShape({ firstSeq, records, series }: UsageBatch): void {
  const refuse = (message: string) =>
    new Fault("INVALID_ARGUMENT", "BATCH_MALFORMED", `batch: ${message}`);
  if (records.length === 0 || records.length > BATCH_RECORDS_MAX) {
    throw refuse(`got ${records.length} records; allowed 1 to ${BATCH_RECORDS_MAX}`);
  }
  if (series.length > records.length) throw refuse("more series than records");
  const at = records.findIndex(({ seq }, index) => seq !== firstSeq + BigInt(index));
  if (at >= 0)
    throw refuse(`record ${at} has seq ${records[at]?.seq}; want ${firstSeq + BigInt(at)}`);
}

/** Numbers that JSON would round go as text of digits, which PostgreSQL reads as they are. */
function bodyOf(batch: UsageBatch, receivedMs: number): string {
  return JSON.stringify({
    agent: batch.agentId,
    epoch: `${batch.epoch}`,
    incarnation: `${batch.incarnation}`,
    firstSeq: `${batch.firstSeq}`,
    lastSeq: `${batch.firstSeq + BigInt(batch.records.length) - 1n}`,
    previousHead: hex(batch.previousHead),
    head: hex(batch.head),
    received: Math.floor(receivedMs),
    futureMax: USAGE_FUTURE_MS_MAX,
    lateMax: USAGE_LATE_MS_MAX,
    series: batch.series.map((each) => ({
      digest: hex(each.digest),
      instance: each.instanceId,
      seat: each.seatId,
      meter: each.meter,
      resource: each.resource,
      source: each.source,
      dimensions: each.dimensions,
    })),
    records: batch.records.map((each) => ({
      q: `${each.seq}`,
      s: each.series,
      a: `${each.windowStartMs}`,
      e: `${each.windowEndMs}`,
      k: KINDS[each.kind],
      v: `${each.value}`,
      d: each.detail,
    })),
  });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

type RawAnswer =
  | Readonly<{
      kind: "accepted";
      acceptedSeq: string;
      durableSeq: string;
      verdicts: readonly Readonly<{ seq: number; verdict: number; reason: string }>[];
    }>
  | Readonly<{ kind: "fenced"; reason: string; expectedSeq: string }>;

function answerOf(raw: RawAnswer | null): IngestAnswer {
  if (raw === null) throw new Fault("INTERNAL", "DATABASE", "usage_ingest gave no answer");
  if (raw.kind === "fenced") return { ...raw, expectedSeq: BigInt(raw.expectedSeq) };
  return {
    kind: "accepted",
    acceptedSeq: BigInt(raw.acceptedSeq),
    durableSeq: BigInt(raw.durableSeq),
    verdicts: raw.verdicts.map(({ seq, verdict, reason }) => ({
      seq: BigInt(seq),
      verdict: verdict === 2 ? "duplicate" : "quarantined",
      reason,
    })),
  };
}

export type UsageKey = Readonly<{
  tenantId: string;
  meter: string;
  seatId: string;
  instanceId: string;
}>;

export type UsageLine = UsageKey &
  Readonly<{
    /** Sum of what the readings add, over all series. */
    quantity: bigint;
    records: bigint;
    gaps: bigint;
    lastWindowEndMs: bigint;
  }>;

export type UsageQuery = Readonly<{
  /** Ms since 1970. A window counts where its end lies after `startMs` and not after `endMs`. */
  startMs: bigint;
  endMs: bigint;
  tenantId?: string | undefined;
  meter?: string | undefined;
  after?: UsageKey | undefined;
  /** At most USAGE_LINES_MAX. */
  limit: number;
}>;

/**
 * Sums per tenant (nil: reserved seats), meter, seat and instance, in this order. A series' first reading
 * counts from 0.
 */
export async function query(tx: Tx, wanted: UsageQuery): Promise<readonly UsageLine[]> {
  const rows = await tx.query<Omit<UsageLine, "quantity"> & { quantity: string }>(
    `select tenant_id as "tenantId", meter, seat_id as "seatId", instance_id as "instanceId",
            sum(quantity)::text as quantity, count(*) filter (where kind <> 4) as records,
            count(*) filter (where kind = 4) as gaps, max(window_end_ms) as "lastWindowEndMs"
       from usage_record
      where window_end_ms > $1 and window_end_ms <= $2
        and tenant_id between $3 and $4 and ($5::text is null or meter = $5)
        and ($6::uuid is null or (tenant_id, meter, seat_id, instance_id) > ($6, $7::text, $8::uuid, $9::uuid))
      group by tenant_id, meter, seat_id, instance_id
      order by tenant_id, meter, seat_id, instance_id
      limit $10`,
    [
      wanted.startMs,
      wanted.endMs,
      wanted.tenantId ?? NIL_UUID,
      wanted.tenantId ?? MAX_UUID,
      wanted.meter,
      wanted.after?.tenantId,
      wanted.after?.meter,
      wanted.after?.seatId,
      wanted.after?.instanceId,
      Math.min(wanted.limit, USAGE_LINES_MAX),
    ],
  );
  return rows.map((row) => ({ ...row, quantity: BigInt(row.quantity) }));
}

/** How many records of an agent's epochs were set aside, by reason. */
export function quarantined(
  tx: Tx,
  agentId: string,
): Promise<{ reason: string; records: bigint }[]> {
  return tx.query(
    `select reason, count(*) as records from usage_quarantine where agent_id = $1
      group by reason order by reason`,
    [agentId],
  );
}
