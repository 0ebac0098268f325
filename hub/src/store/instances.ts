/** Table instance beyond what all objects have (objects.ts): what is wanted in a cell, and its end. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Tx } from "./tx.ts";

/** Of one page. */
export const CELL_INSTANCES_MAX = 256;
/** Of those of one name that are gone. */
const GONE_MAX = 100;

export type InstanceRow = Readonly<{
  id: string;
  /** Nil for a pooled one. */
  tenantId: string;
  name: string;
  cellId: string;
  productId: string;
  releaseId: string;
  planId: string;
  planVersion: number;
  subscriptionId: string | null;
  parameters: Readonly<Record<string, unknown>>;
  /** RunState: 1 running, 2 stopped. */
  runState: number;
  localSecrets: Readonly<Record<string, string>>;
  /** Generation of the newest assignment; 0.0 before the first one. */
  assignedIncarnation: bigint;
  assignedNumber: bigint;
  revision: bigint;
  /** Taken ones, the reserved one left out; counted by the database. */
  seats: number;
  deletedAt: Date | null;
  finalizers: readonly string[];
}>;

const COLUMNS = `id, tenant_id as "tenantId", name, cell_id as "cellId", product_id as "productId",
  release_id as "releaseId", plan_id as "planId", plan_version as "planVersion",
  subscription_id as "subscriptionId", parameters, run_state as "runState",
  local_secrets as "localSecrets", assigned_incarnation as "assignedIncarnation",
  assigned_number as "assignedNumber", seats, revision, deleted_at as "deletedAt", finalizers`;

export async function get(tx: Tx, id: string): Promise<InstanceRow | undefined> {
  const rows = await tx.query<InstanceRow>(
    `select ${COLUMNS} from instance where id = $1 and gone_at is null`,
    [id],
  );
  return rows[0];
}

/** What an agent's report of an instance is held against. */
export type InstanceHead = Pick<
  InstanceRow,
  | "id"
  | "tenantId"
  | "cellId"
  | "name"
  | "revision"
  | "deletedAt"
  | "assignedIncarnation"
  | "assignedNumber"
  | "finalizers"
> &
  Readonly<{ isGone: boolean; undeleteDays: number }>;

/** Those that are visible, in no order; also those that are gone, since data may be kept of them. */
export function heads(tx: Tx, ids: readonly string[]): Promise<InstanceHead[]> {
  return tx.query<InstanceHead>(
    `select id, tenant_id as "tenantId", cell_id as "cellId", name, revision, deleted_at as "deletedAt",
            assigned_incarnation as "assignedIncarnation", assigned_number as "assignedNumber", finalizers,
            gone_at is not null as "isGone", undelete_days as "undeleteDays"
       from instance where id = any ($1::uuid[])`,
    [ids],
  );
}

/** The same as `get`, and no other transaction changes it before this one ends. */
export async function lock(tx: Tx, id: string): Promise<InstanceRow | undefined> {
  const rows = await tx.query<InstanceRow>(
    `select ${COLUMNS} from instance where id = $1 and gone_at is null for update`,
    [id],
  );
  return rows[0];
}

/** Those in a cell, by id, after `afterId`. At most CELL_INSTANCES_MAX. */
export function listInCell(
  tx: Tx,
  cellId: string,
  afterId: string = NIL_UUID,
): Promise<InstanceRow[]> {
  return tx.query<InstanceRow>(
    `select ${COLUMNS} from instance where cell_id = $1 and id > $2 and gone_at is null
      order by id limit ${CELL_INSTANCES_MAX}`,
    [cellId, afterId],
  );
}

/** How many each of the cells has; cells without any are absent. */
export async function countInCells(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const rows = await tx.query<{ cellId: string; count: number }>(
    `select cell_id as "cellId", count(*)::int as count from instance
      where cell_id = any ($1::uuid[]) and gone_at is null group by cell_id`,
    [cellIds],
  );
  return new Map(rows.map(({ cellId, count }) => [cellId, count]));
}

/** Something that belongs to it has changed; the revision after that. The caller has locked it. */
export async function touch(tx: Tx, id: string): Promise<bigint> {
  const rows = await tx.query<{ revision: bigint }>(
    `update instance set revision = revision + 1, updated_at = now()
      where id = $1 and gone_at is null returning revision`,
    [id],
  );
  return rows[0]?.revision ?? 0n;
}

/** What a deletion still waits for, in the order of the ids. */
export async function setFinalizers(
  tx: Tx,
  waits: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  // In one order, so that two transactions never wait for each other.
  for (const [id, names] of [...waits].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await tx.query(
      `update instance set finalizers = $2
        where id = $1 and deleted_at is not null and gone_at is null and finalizers <> $2::text[]`,
      [id, names],
    );
  }
}

/** The tombstone is executed: instance, seats and what was signed for it are gone; usage and events stay. */
export async function retire(tx: Tx, id: string, undeleteDays: number): Promise<void> {
  await tx.query("delete from assignment where instance_id = $1", [id]);
  await tx.query("delete from instance_secret where instance_id = $1", [id]);
  await tx.query(
    `update seat set gone_at = now(), deleted_at = coalesce(deleted_at, now()), revision = revision + 1
      where instance_id = $1 and gone_at is null`,
    [id],
  );
  await tx.query(
    `update instance set gone_at = now(), deleted_at = coalesce(deleted_at, now()), finalizers = '{}',
            undelete_until = now() + make_interval(days => $2), revision = revision + 1
      where id = $1 and gone_at is null`,
    [id, undeleteDays],
  );
}

export type GoneInstance = Readonly<{
  id: string;
  tenantId: string;
  undeleteUntil: Date | null;
}>;

/** Of a name or with an id, the one that went last first. */
export function listGone(
  tx: Tx,
  key: Readonly<{ id: string } | { name: string; tenantId?: string | undefined }>,
): Promise<GoneInstance[]> {
  const [id, name, tenantId] =
    "id" in key ? [key.id, null, null] : [null, key.name, key.tenantId ?? null];
  return tx.query<GoneInstance>(
    `select id, tenant_id as "tenantId", undelete_until as "undeleteUntil" from instance
      where gone_at is not null and ($1::uuid is null or id = $1) and ($2::text is null or name = $2)
        and ($3::uuid is null or tenant_id = $3)
      order by gone_at desc limit ${GONE_MAX}`,
    [id, name, tenantId],
  );
}

/** It is as if it had not been deleted: with the seats that went with it. The caller has checked that it may be. */
export async function restore(tx: Tx, id: string): Promise<void> {
  // Its data is in use again; what is still kept beside that the agent says anew.
  await tx.query("delete from kept_data where instance_id = $1", [id]);
  await tx.query(
    `update seat s set gone_at = null, deleted_at = null, revision = s.revision + 1
       from instance i where i.id = $1 and s.instance_id = i.id and s.gone_at = i.gone_at`,
    [id],
  );
  await tx.query(
    `update instance set gone_at = null, deleted_at = null, finalizers = '{}', undelete_until = null,
            generation = generation + 1, revision = revision + 1, updated_at = now()
      where id = $1`,
    [id],
  );
}
