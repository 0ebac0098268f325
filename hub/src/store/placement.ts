/**
 * What a placement is decided from: cells with their agent and load, and a plan's pooled instances. One row for
 * each cell, whatever runs in it: table cell_load is counted by the database.
 */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { AgentFacts, Amounts, CellFacts, PoolFacts } from "../domain/placement.ts";
import type { Tx } from "./tx.ts";

/** Of one decision, the emptiest first; the others are not considered. */
export const CELLS_CONSIDERED_MAX = 5_000;
/** Of one plan, those with the most room first. */
export const POOLS_CONSIDERED_MAX = 500;

export type Sought = Readonly<{
  /** Owners of the cells, NIL_UUID for hosted ones. */
  owners: readonly string[];
  /** Labels that the decision asks about; all of them if left out. */
  labelKeys?: readonly string[];
  /** Kinds of resources that it asks about; all if left out. */
  drivers?: readonly string[];
}>;

/**
 * Cells as far as the caller sees them. The agent is the one with the cell's highest fencing number: one that was
 * fenced says nothing any more. Until the active one's first hello its abilities are unknown and it counts as absent.
 * One statement for each table: under row-level security the planner takes each of them for one row, and a join
 * would compare all cells with all agents.
 */
export async function cells(tx: Tx, { owners, labelKeys, drivers }: Sought): Promise<CellFacts[]> {
  const rows = await emptiest(tx, owners);
  const ids = rows.map(({ id }) => id);
  if (ids.length === 0) return [];
  const agents = await activeAgents(tx, owners, rows, drivers);
  const labels = await labelsOf(tx, owners, ids, labelKeys);
  return rows.map(({ instancesMax, resourcesMax, instances, resources, fencing: _, ...cell }) => ({
    ...cell,
    labels: labels.get(cell.id) ?? {},
    agent: agents.get(cell.id),
    capacity: { instances: instancesMax, resources: resourcesMax },
    load: { instances, resources },
  }));
}

type CellRow = Omit<CellFacts, "agent" | "labels" | "capacity" | "load"> &
  Readonly<{
    fencing: bigint;
    instancesMax: number;
    resourcesMax: Amounts;
    instances: number;
    resources: Amounts;
  }>;

/** The limit inside keeps each look-up one by the whole key. */
function emptiest(tx: Tx, owners: readonly string[]): Promise<CellRow[]> {
  return tx.query<CellRow>(
    `select c.id, c.name, c.tenant_id as "tenantId", c.region, c.deleted_at is not null as deleting, c.fencing,
            c.instances_max as "instancesMax", c.resources_max as "resourcesMax",
            coalesce(l.instances, 0) as instances, coalesce(l.resources, '{}') as resources
       from cell c
       left join lateral (
         select l.instances, l.resources from cell_load l
          where l.vendor_id = c.vendor_id and l.tenant_id = c.tenant_id and l.cell_id = c.id limit 1
       ) l on true
      where c.tenant_id = any ($1::uuid[]) and c.gone_at is null
      order by coalesce(l.instances, 0), c.name, c.id limit ${CELLS_CONSIDERED_MAX}`,
    [owners],
  );
}

/** As hellos name drivers among the capabilities. */
const DRIVER_PREFIX = "driver/";

type AgentRow = Readonly<{
  id: string;
  cellId: string;
  fencing: bigint;
  drivers: readonly string[];
}>;

/** By cell. */
async function activeAgents(
  tx: Tx,
  owners: readonly string[],
  rows: readonly CellRow[],
  drivers: readonly string[] | undefined,
): Promise<ReadonlyMap<string, AgentFacts>> {
  const found = await tx.query<AgentRow>(
    `select a.id, a.cell_id as "cellId", a.fencing,
            array(select e->>'name' from jsonb_array_elements(a.capabilities) e
                   where (e->>'available')::boolean and ($3::text[] is null or e->>'name' = any ($3::text[]))
            ) as drivers
       from agent a
      where a.tenant_id = any ($1::uuid[]) and a.cell_id = any ($2::uuid[]) and a.gone_at is null`,
    [owners, rows.map(({ id }) => id), drivers?.map((kind) => `${DRIVER_PREFIX}${kind}`) ?? null],
  );
  const fences = new Map(rows.map(({ id, fencing }) => [id, fencing]));
  const active = found.filter(({ cellId, fencing }) => fences.get(cellId) === fencing);
  const sessions = await tx.query<{ agentId: string; closedAt: Date | null }>(
    `select agent_id as "agentId", closed_at as "closedAt" from agent_session
      where tenant_id = any ($1::uuid[]) and agent_id = any ($2::uuid[])`,
    [owners, active.map(({ id }) => id)],
  );
  const closedAt = new Map(sessions.map((each) => [each.agentId, each.closedAt?.getTime()]));
  return new Map(
    active
      .filter(({ id }) => closedAt.has(id))
      .map(({ id, cellId, drivers: names }) => [
        cellId,
        {
          awaySinceMs: closedAt.get(id),
          drivers: names.map((name) => name.slice(DRIVER_PREFIX.length)),
        },
      ]),
  );
}

/** By cell; cells without any of them are absent. */
async function labelsOf(
  tx: Tx,
  owners: readonly string[],
  cellIds: readonly string[],
  keys: readonly string[] | undefined,
): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
  if (keys?.length === 0) return new Map();
  const rows = await tx.query<{ id: string; key: string; value: string }>(
    `select object_id as id, key, value from object_label
      where tenant_id = any ($1::uuid[]) and kind = 'cell' and object_id = any ($2::uuid[])
        and ($3::text[] is null or key = any ($3::text[]))`,
    [owners, cellIds, keys ?? null],
  );
  const labels = new Map<string, Record<string, string>>();
  for (const { id, key, value } of rows) labels.set(id, { ...labels.get(id), [key]: value });
  return labels;
}

/** Pooled instances of a plan; those that are full come last. */
export function pools(tx: Tx, planId: string): Promise<PoolFacts[]> {
  return tx.query<PoolFacts>(
    `select i.id, i.name, i.cell_id as "cellId", i.seats, v.seats_max as "seatsMax",
            i.deleted_at is not null as deleting
       from instance i
       join plan_version v on v.vendor_id = i.vendor_id and v.plan_id = i.plan_id and v.version = i.plan_version
      where i.tenant_id = '${NIL_UUID}' and i.plan_id = $1 and i.gone_at is null
      order by (i.seats >= v.seats_max), i.seats, i.name limit ${POOLS_CONSIDERED_MAX}`,
    [planId],
  );
}

/** What is in a cell and what fits; undefined where the caller does not see the cell. */
export async function roomOf(
  tx: Tx,
  cellId: string,
): Promise<Pick<CellFacts, "capacity" | "load"> | undefined> {
  const [row] = await tx.query<CellRow>(
    `select c.instances_max as "instancesMax", c.resources_max as "resourcesMax",
            coalesce(l.instances, 0) as instances, coalesce(l.resources, '{}') as resources
       from cell c
       left join cell_load l on l.vendor_id = c.vendor_id and l.tenant_id = c.tenant_id and l.cell_id = c.id
      where c.id = $1 and c.gone_at is null`,
    [cellId],
  );
  return (
    row && {
      capacity: { instances: row.instancesMax, resources: row.resourcesMax },
      load: { instances: row.instances, resources: row.resources },
    }
  );
}

/** What the instances of each cell take of its named resources; cells without any are absent. */
export async function resourcesUsed(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlyMap<string, Amounts>> {
  const rows = await tx.query<{ cellId: string; resources: Amounts }>(
    `select cell_id as "cellId", resources from cell_load where cell_id = any ($1::uuid[])`,
    [cellIds],
  );
  return new Map(rows.map(({ cellId, resources }) => [cellId, resources]));
}

/** Until the end of the transaction nobody else opens a pooled instance of the plan or takes a seat by placement. */
export async function lockPlan(tx: Tx, planId: string): Promise<void> {
  await tx.query("select from plan where id = $1 for no key update", [planId]);
}

/** Instances of a pooled plan, on their way out included: they still run. */
export async function countOfPlan(tx: Tx, planId: string): Promise<number> {
  return count(
    tx,
    `select count(*)::int as count from instance
      where tenant_id = '${NIL_UUID}' and plan_id = $1 and gone_at is null`,
    [planId],
  );
}

/** Instances of a subscription, on their way out included. The subscription is locked until the transaction ends. */
export async function countOfSubscription(
  tx: Tx,
  tenantId: string,
  subscriptionId: string,
): Promise<number> {
  await tx.query("select from subscription where id = $1 for no key update", [subscriptionId]);
  return count(
    tx,
    `select count(*)::int as count from instance
      where tenant_id = $1 and subscription_id = $2 and gone_at is null`,
    [tenantId, subscriptionId],
  );
}

async function count(tx: Tx, sql: string, params: readonly unknown[]): Promise<number> {
  const [row] = await tx.query<{ count: number }>(sql, params);
  return row?.count ?? 0;
}

export type NewestPool = Readonly<{
  releaseId: string;
  environmentId: string | null;
  parameters: Readonly<Record<string, unknown>>;
  localSecrets: Readonly<Record<string, string>>;
}>;

/** What the pooled instance of a plan that was made last is made from. */
export async function newestPool(tx: Tx, planId: string): Promise<NewestPool | undefined> {
  const [row] = await tx.query<NewestPool>(
    `select release_id as "releaseId", environment_id as "environmentId", parameters,
            local_secrets as "localSecrets"
       from instance
      where tenant_id = '${NIL_UUID}' and plan_id = $1 and gone_at is null and deleted_at is null
      order by created_at desc, id desc limit 1`,
    [planId],
  );
  return row;
}

/** The next of the names STEM-1, STEM-2 …; a name is not used again after its instance has gone. */
export async function nextPoolName(tx: Tx, stem: string): Promise<string> {
  const [row] = await tx.query<{ number: number }>(
    `select coalesce(max(substring(name from length($1) + 2)::int), 0) + 1 as number from instance
      where tenant_id = '${NIL_UUID}' and left(name, length($1) + 1) = $1 || '-'
        and substring(name from length($1) + 2) ~ '^[0-9]{1,8}$'`,
    [stem],
  );
  return `${stem}-${row?.number ?? 1}`;
}
