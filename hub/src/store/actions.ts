/**
 * Table action: one-off orders to agents and how they ended. Times are the caller's, so that the rules about them can
 * be tested. An ended one never changes.
 */
import { MAX_UUID } from "@holdfast/shared/ids.ts";
import type { Tx } from "./tx.ts";

/** The numbers of the contract's ActionStatus. */
export const STATES = { PENDING: 1, SENT: 2, DONE: 3, FAILED: 4, EXPIRED: 5, REFUSED: 6 } as const;
export type State = keyof typeof STATES;
export type EndState = Exclude<State, "PENDING" | "SENT">;

export type ActionRow = Readonly<{
  id: string;
  tenantId: string;
  /** Empty for the vendor's own. */
  tenantName: string;
  cellId: string;
  instanceId: string;
  instanceName: string;
  /** ActionKind. */
  kind: number;
  resource: string;
  state: number;
  reason: string;
  message: string;
  principal: string;
  agentId: string | null;
  /** A serialised envelope; null but for a destroy order. */
  destroyOrder: Uint8Array | null;
  createdAt: Date;
  notAfter: Date;
  sentAt: Date | null;
  endedAt: Date | null;
}>;

export type NewAction = Pick<
  ActionRow,
  | "id"
  | "instanceId"
  | "kind"
  | "resource"
  | "principal"
  | "destroyOrder"
  | "createdAt"
  | "notAfter"
>;

const SELECT = `
  select a.id, a.tenant_id as "tenantId", coalesce(o.name, '') as "tenantName", a.cell_id as "cellId",
         a.instance_id as "instanceId", i.name as "instanceName", a.kind, a.resource, a.state, a.reason,
         a.message, a.principal, a.agent_id as "agentId", a.destroy_order as "destroyOrder", a.created_at as "createdAt",
         a.not_after as "notAfter", a.sent_at as "sentAt", a.ended_at as "endedAt"
    from action a
    join instance i on i.vendor_id = a.vendor_id and i.tenant_id = a.tenant_id and i.id = a.instance_id
    left join tenant o on o.vendor_id = a.vendor_id and o.tenant_id = a.tenant_id and o.id = a.tenant_id`;

/** Belongs to whom the instance belongs to. */
export async function insert(tx: Tx, action: NewAction): Promise<void> {
  await tx.query(
    `insert into action (tenant_id, cell_id, instance_id, id, kind, resource, principal, created_at, not_after,
       destroy_order)
     select i.tenant_id, i.cell_id, i.id, $2, $3, $4, $5, $6, $7, $8 from instance i where i.id = $1`,
    [
      action.instanceId,
      action.id,
      action.kind,
      action.resource,
      action.principal,
      action.createdAt,
      action.notAfter,
      action.destroyOrder,
    ],
  );
}

export async function get(tx: Tx, id: string): Promise<ActionRow | undefined> {
  const rows = await tx.query<ActionRow>(`${SELECT} where a.id = $1`, [id]);
  return rows[0];
}

export type Page = Readonly<{
  limit: number;
  /** Only those made before this one. */
  beforeId: string | undefined;
  tenantId: string | undefined;
  instanceId: string | undefined;
}>;

/** Newest first: ids begin with the time. */
export function page(tx: Tx, asked: Page): Promise<ActionRow[]> {
  const { limit, beforeId = MAX_UUID, tenantId, instanceId } = asked;
  return tx.query<ActionRow>(
    `${SELECT}
      where a.id < $1 and ($2::uuid is null or a.tenant_id = $2) and ($3::uuid is null or a.instance_id = $3)
      order by a.id desc limit $4`,
    [beforeId, tenantId ?? null, instanceId ?? null, limit],
  );
}

export async function countOpen(tx: Tx, instanceId: string): Promise<number> {
  const rows = await tx.query<{ count: number }>(
    "select count(*)::int as count from action where instance_id = $1 and ended_at is null",
    [instanceId],
  );
  return rows[0]?.count ?? 0;
}

/** Those of the cells in which any order is open. */
export async function cellsWithOpen(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await tx.query<{ cellId: string }>(
    `select distinct cell_id as "cellId" from action
      where cell_id = any ($1::uuid[]) and ended_at is null`,
    [cellIds],
  );
  return new Set(rows.map(({ cellId }) => cellId));
}

/** Open ones of a cell, oldest first, locked. */
export function lockOpen(tx: Tx, cellId: string, limit: number): Promise<ActionRow[]> {
  return tx.query<ActionRow>(
    `${SELECT} where a.cell_id = $1 and a.ended_at is null order by a.id limit $2 for update of a`,
    [cellId, limit],
  );
}

/** Whether data of an instance was destroyed, wholly or in part, since it was deleted. */
export async function isDestroyed(tx: Tx, instanceId: string, since: Date): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from action where instance_id = $1 and destroy_order is not null and state = ${STATES.DONE}
        and ended_at >= $2 limit 1`,
    [instanceId, since],
  );
  return rows.length > 0;
}

/** To be written before they are given to it. */
export async function noteSent(
  tx: Tx,
  ids: readonly string[],
  agentId: string,
  at: Date,
): Promise<void> {
  await tx.query(
    `update action set state = ${STATES.SENT}, agent_id = $2, sent_at = $3
      where id = any ($1::uuid[]) and state = ${STATES.PENDING}`,
    [ids, agentId, at],
  );
}

/** Why a sent one has not begun. */
export async function noteHold(tx: Tx, id: string, reason: string, message: string): Promise<void> {
  await tx.query(
    `update action set reason = $2, message = $3 where id = $1 and state = ${STATES.SENT}`,
    [id, reason, message],
  );
}

export type End = Readonly<{ state: EndState; reason: string; message: string; at: Date }>;

/** False where it had ended before, and nothing is changed. */
export async function end(tx: Tx, id: string, { state, reason, message, at }: End) {
  const rows = await tx.query(
    `update action set state = $2, reason = $3, message = $4, ended_at = $5
      where id = $1 and ended_at is null returning 1`,
    [id, STATES[state], reason, message, at],
  );
  return rows.length > 0;
}

/**
 * Those whose time was over before they were given to anybody, and those that were given away so long ago that no
 * answer will come; locked, unless another replica is at them.
 */
export function lockOverdue(
  tx: Tx,
  now: Date,
  answerMsMax: number,
  limit: number,
): Promise<ActionRow[]> {
  return tx.query<ActionRow>(
    `${SELECT}
      where a.ended_at is null
        and ((a.state = ${STATES.PENDING} and a.not_after < $1)
          or (a.state = ${STATES.SENT} and a.not_after < $1 - make_interval(secs => $2 / 1000.0)))
      order by a.id limit $3 for update of a skip locked`,
    [now, answerMsMax, limit],
  );
}

/** How long an ended one can be read; what was done stays in the events. */
export const ENDED_ACTION_LIFE_MS = 90 * 86_400_000;

export async function prune(tx: Tx, limit: number): Promise<number> {
  const rows = await tx.query(
    `delete from action where (tenant_id, id) in (
       select tenant_id, id from action
        where ended_at < now() - make_interval(secs => $1 / 1000.0) limit $2) returning 1`,
    [ENDED_ACTION_LIFE_MS, limit],
  );
  return rows.length;
}
