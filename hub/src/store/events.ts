/**
 * Table event and its chains. Use cases append without a position; only the sequencer places events, and
 * only placed ones are listed, so that a reader never misses one that was committed late.
 */
import { randomBytes } from "node:crypto";
import { Fault } from "@holdfast/shared/fault.ts";
import { uuidV7 } from "@holdfast/shared/ids.ts";
import { type Head, type Link, type Placed, payloadHash, type Waiting } from "./event-chain.ts";
import type { Tx } from "./tx.ts";

/** Of one event, as stored. */
export const PAYLOAD_BYTES_MAX = 1_048_576;
/** Of one page. */
export const EVENTS_MAX = 500;
const SALT_BYTES = 16;

export type EventDraft = Readonly<{
  /** Owner of the subject; nil for the vendor's own. */
  tenantId: string;
  /** noun.verb, such as instance.updated. */
  type: string;
  subjectKind: string;
  subjectId: string;
  subjectName: string;
  /** The subject's revision after the change, taken under its row lock. */
  subjectRevision: bigint;
  /** Order within one revision. */
  ordinal?: number;
  occurredAt: Date;
  principal: string;
  permission: string;
  requestId: string;
  reason: string;
  before?: unknown;
  after?: unknown;
}>;

/** In the transaction of the change. Returns the events' ids. Rings the sequencer once that is committed. */
export async function append(tx: Tx, drafts: readonly EventDraft[]): Promise<readonly string[]> {
  if (drafts.length === 0) return [];
  const rows = drafts.map((draft) => ({ ...draft, ...sealed(tx, draft) }));
  const column = <T>(of: (row: (typeof rows)[number]) => T) => rows.map(of);
  await tx.query(
    `insert into event (tenant_id, id, type, subject_kind, subject_id, subject_revision, ordinal,
       occurred_at, payload, salt, payload_hash)
     select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::bigint[],
       $7::smallint[], $8::timestamptz[], $9::text[], $10::bytea[], $11::bytea[])`,
    [
      column(({ tenantId }) => tenantId),
      column(({ id }) => id),
      column(({ type }) => type),
      column(({ subjectKind }) => subjectKind),
      column(({ subjectId }) => subjectId),
      column(({ subjectRevision }) => subjectRevision),
      column(({ ordinal }) => ordinal ?? 0),
      column(({ occurredAt }) => occurredAt),
      column(({ payload }) => payload),
      column(({ salt }) => salt),
      column(({ hash }) => hash),
    ],
  );
  tx.afterCommit(() => tx.database.eventBell.ring());
  return column(({ id }) => id);
}

/** What is stored and hashed of an event. */
function sealed(tx: Tx, draft: EventDraft) {
  const id = uuidV7(tx.database.clock.now(), randomBytes(10));
  const payload = JSON.stringify({
    id,
    tenant: draft.tenantId,
    type: draft.type,
    subject: {
      kind: draft.subjectKind,
      id: draft.subjectId,
      name: draft.subjectName,
      revision: draft.subjectRevision.toString(),
    },
    time: draft.occurredAt.toISOString(),
    principal: draft.principal,
    permission: draft.permission,
    requestId: draft.requestId,
    reason: draft.reason,
    before: draft.before ?? null,
    after: draft.after ?? null,
  });
  if (Buffer.byteLength(payload) > PAYLOAD_BYTES_MAX) {
    throw new Fault(
      "RESOURCE_EXHAUSTED",
      "EVENT_TOO_LARGE",
      `the change of ${draft.subjectKind} ${draft.subjectName} makes an event of more than ${PAYLOAD_BYTES_MAX} bytes`,
    );
  }
  const salt = randomBytes(SALT_BYTES);
  return { id, payload, salt, hash: Buffer.from(payloadHash(salt, payload)) };
}

export type EventRow = Readonly<{
  id: string;
  tenantId: string;
  type: string;
  subjectKind: string;
  subjectId: string;
  subjectName: string;
  subjectRevision: bigint;
  occurredAt: Date;
  principal: string;
  permission: string;
  requestId: string;
  reason: string;
  before: unknown;
  after: unknown;
  /** In the chain of its tenant, dense from 1. */
  position: bigint;
  /** In the vendor's feed. */
  feedPosition: bigint;
  hash: Uint8Array;
}>;

export type EventQuery = Readonly<{
  /** `chain`: of one tenant (nil: the vendor's own), by position. `feed`: all the caller sees, by feed position. */
  of: Readonly<{ chain: string }> | "feed";
  /** Position of the last event that is known; 0 for the beginning. With `newestFirst`: of the oldest one. */
  after: bigint;
  newestFirst?: boolean;
  /** At most EVENTS_MAX. */
  limit: number;
  subjectId?: string | undefined;
}>;

/**
 * Placed events after a position, in order, or those before it, the newest first. A tenant's caller reads its chain; the feed's positions would
 * tell it how much happens elsewhere.
 */
export async function list(tx: Tx, query: EventQuery): Promise<readonly EventRow[]> {
  const isFeed = query.of === "feed";
  const column = isFeed ? "feed_position" : "position";
  const isBack = query.newestFirst === true;
  const rows = await tx.query<RawEvent>(
    `select id, tenant_id as "tenantId", type, subject_kind as "subjectKind", subject_id as "subjectId",
            subject_revision as "subjectRevision", occurred_at as "occurredAt", payload, position,
            feed_position as "feedPosition", hash
       from event
      where position is not null and ${column} ${isBack ? "<" : ">"} $1
        and ($2::uuid is null or tenant_id = $2) and ($3::uuid is null or subject_id = $3)
      order by ${column} ${isBack ? "desc" : ""} limit $4`,
    [
      query.after,
      query.of === "feed" ? undefined : query.of.chain,
      query.subjectId,
      Math.min(query.limit, EVENTS_MAX),
    ],
  );
  return rows.map(eventOf);
}

type RawEvent = Omit<
  EventRow,
  "subjectName" | "principal" | "permission" | "requestId" | "reason" | "before" | "after"
> &
  Readonly<{ payload: string | null }>;
type Payload = Partial<
  Pick<EventRow, "principal" | "permission" | "requestId" | "reason" | "before" | "after">
> &
  Readonly<{ subject?: Readonly<{ name?: string }> }>;

function eventOf({ payload, ...row }: RawEvent): EventRow {
  const said = (payload === null ? {} : JSON.parse(payload)) as Payload;
  return {
    ...row,
    subjectName: said.subject?.name ?? "",
    principal: said.principal ?? "",
    permission: said.permission ?? "",
    requestId: said.requestId ?? "",
    reason: said.reason ?? "",
    before: said.before ?? undefined,
    after: said.after ?? undefined,
  };
}

/** The newest position of a chain (nil tenant: the vendor's own) or of the feed; 0: none yet. */
export async function newest(tx: Tx, of: EventQuery["of"]): Promise<bigint> {
  const rows =
    of === "feed"
      ? await tx.query<{ position: bigint }>("select position from event_feed_head")
      : await tx.query<{ position: bigint }>(
          "select position from event_head where tenant_id = $1",
          [of.chain],
        );
  return rows[0]?.position ?? 0n;
}

/** Committed events without a position, the revisions of each subject without a gap. At most `limit`. */
export function waiting(tx: Tx, limit: number): Promise<Waiting[]> {
  return tx.query<Waiting>(
    `select id, tenant_id as "tenantId", subject_id as "subjectId",
            subject_revision as "subjectRevision", ordinal, occurred_at as "occurredAt",
            payload_hash as "payloadHash"
       from event where position is null
      order by subject_id, subject_revision, ordinal, id limit $1`,
    [limit],
  );
}

/** Events that `backlog` counts at most. */
export const BACKLOG_MAX = 10_000;

/** Committed events without a position: how many (up to BACKLOG_MAX), and since when the oldest of them waits. */
export async function backlog(tx: Tx): Promise<Readonly<{ count: number; since: Date | null }>> {
  const [row] = await tx.query<{ count: number; since: Date | null }>(
    `select count(*)::int as count, min(occurred_at) as since
       from (select occurred_at from event where position is null limit $1) as waiting`,
    [BACKLOG_MAX],
  );
  return row ?? { count: 0, since: null };
}

/** Heads of these chains, and the feed's position. Only the sequencer, under its lease. */
export async function heads(
  tx: Tx,
  tenantIds: readonly string[],
): Promise<Readonly<{ chains: ReadonlyMap<string, Head>; feed: bigint }>> {
  const rows = await tx.query<Head & { tenantId: string }>(
    `select tenant_id as "tenantId", position, hash from event_head where tenant_id = any ($1::uuid[])`,
    [tenantIds],
  );
  const feed = await newest(tx, "feed");
  return {
    chains: new Map(rows.map(({ tenantId, position, hash }) => [tenantId, { position, hash }])),
    feed,
  };
}

/** Writes positions and the heads after them. Throws ABORTED `SEQUENCER_FENCED` for an older fence. */
export async function writePlaces(
  tx: Tx,
  placed: readonly Placed[],
  chains: ReadonlyMap<string, Head>,
  fence: bigint,
): Promise<void> {
  const last = placed.at(-1);
  if (last === undefined) return;
  const feed = await tx.query(
    `insert into event_feed_head as f (position, fence) values ($1, $2)
     on conflict (vendor_id, tenant_id) do update set position = excluded.position, fence = excluded.fence
     where f.fence <= excluded.fence and f.position < excluded.position
     returning 1`,
    [last.feedPosition, fence],
  );
  const written = await tx.query(
    `update event e set position = p.position, feed_position = p.feed_position, hash = p.hash
       from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[])
              as p (tenant_id, id, position, feed_position, hash)
      where e.tenant_id = p.tenant_id and e.id = p.id and e.position is null
  returning 1`,
    [
      placed.map(({ tenantId }) => tenantId),
      placed.map(({ id }) => id),
      placed.map(({ position }) => position),
      placed.map(({ feedPosition }) => feedPosition),
      placed.map(({ hash }) => hash),
    ],
  );
  if (feed.length === 0 || written.length !== placed.length) {
    throw new Fault("ABORTED", "SEQUENCER_FENCED", "another sequencer has placed events since");
  }
  for (const [tenantId, head] of chains) {
    await tx.query(
      `insert into event_head (tenant_id, position, hash) values ($1, $2, $3)
       on conflict (vendor_id, tenant_id) do update
         set position = excluded.position, hash = excluded.hash, updated_at = now()`,
      [tenantId, head.position, head.hash],
    );
  }
}

/** What `firstBreak` wants: links of one chain after a position. At most EVENTS_MAX. */
export function links(tx: Tx, tenantId: string, after: bigint): Promise<Link[]> {
  return tx.query<Link>(
    `select position, hash, payload_hash as "payloadHash", salt, payload from event
      where tenant_id = $1 and position > $2 order by position limit ${EVENTS_MAX}`,
    [tenantId, after],
  );
}
