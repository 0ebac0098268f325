/** Table instance beyond what all objects have (objects.ts): what is wanted in a cell, and its end. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Tx } from "./tx.ts";

/** Of one page. */
export const CELL_INSTANCES_MAX = 256;

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
>;

/** Those that are visible and not gone, in no order. */
export function heads(tx: Tx, ids: readonly string[]): Promise<InstanceHead[]> {
  return tx.query<InstanceHead>(
    `select id, tenant_id as "tenantId", cell_id as "cellId", name, revision, deleted_at as "deletedAt",
            assigned_incarnation as "assignedIncarnation", assigned_number as "assignedNumber"
       from instance where id = any ($1::uuid[]) and gone_at is null`,
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

/** The tombstone is executed: instance, seats and what was signed for it are gone; usage and events stay. */
export async function retire(tx: Tx, id: string): Promise<void> {
  await tx.query("delete from assignment where instance_id = $1", [id]);
  await tx.query("delete from entitlement where instance_id = $1", [id]);
  await tx.query("delete from instance_secret where instance_id = $1", [id]);
  await tx.query(
    `update seat set gone_at = now(), deleted_at = coalesce(deleted_at, now()), revision = revision + 1
      where instance_id = $1 and gone_at is null`,
    [id],
  );
  await tx.query(
    `update instance set gone_at = now(), deleted_at = coalesce(deleted_at, now()), finalizers = '{}',
            revision = revision + 1
      where id = $1 and gone_at is null`,
    [id],
  );
}
