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

type Row = Omit<CellFacts, "agent" | "capacity" | "load"> &
  Readonly<{
    instancesMax: number;
    resourcesMax: Amounts;
    instances: number;
    resources: Amounts;
    fencing: bigint | null;
    awaySince: Date | null;
    drivers: readonly string[];
  }>;

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
 */
export async function cells(tx: Tx, { owners, labelKeys, drivers }: Sought): Promise<CellFacts[]> {
  const rows = await tx.query<Row>(
    `select c.id, c.name, c.tenant_id as "tenantId", c.region, c.deleted_at is not null as deleting,
            c.instances_max as "instancesMax", c.resources_max as "resourcesMax",
            coalesce(l.instances, 0) as instances, coalesce(l.resources, '{}') as resources,
            case when $2::text[] = '{}' then '{}'::jsonb else
              coalesce((select jsonb_object_agg(o.key, o.value) from object_label o
                         where o.vendor_id = c.vendor_id and o.tenant_id = c.tenant_id
                           and o.kind = 'cell' and o.object_id = c.id
                           and ($2::text[] is null or o.key = any ($2::text[]))), '{}')
            end as labels,
            a.fencing, s.closed_at as "awaySince",
            array(select e->>'name' from jsonb_array_elements(a.capabilities) e
                   where (e->>'available')::boolean and ($3::text[] is null or e->>'name' = any ($3::text[]))
            ) as drivers
       from cell c
       left join cell_load l on l.vendor_id = c.vendor_id and l.tenant_id = c.tenant_id and l.cell_id = c.id
       left join (agent a join agent_session s on s.vendor_id = a.vendor_id and s.tenant_id = a.tenant_id
                                              and s.agent_id = a.id)
         on a.vendor_id = c.vendor_id and a.tenant_id = c.tenant_id and a.cell_id = c.id
            and a.fencing = c.fencing and a.gone_at is null
      where c.tenant_id = any ($1::uuid[]) and c.gone_at is null
      order by instances, c.name, c.id limit ${CELLS_CONSIDERED_MAX}`,
    [owners, labelKeys ?? null, drivers?.map((kind) => `${DRIVER_PREFIX}${kind}`) ?? null],
  );
  return rows.map(factsOf);
}

/** As hellos name drivers among the capabilities. */
const DRIVER_PREFIX = "driver/";

function factsOf(row: Row): CellFacts {
  const { instancesMax, resourcesMax, instances, resources, fencing, awaySince, drivers } = row;
  const agent: AgentFacts | undefined =
    fencing === null
      ? undefined
      : {
          awaySinceMs: awaySince?.getTime(),
          drivers: drivers.map((name) => name.slice(DRIVER_PREFIX.length)),
        };
  return {
    id: row.id,
    name: row.name,
    tenantId: row.tenantId,
    region: row.region,
    labels: row.labels,
    deleting: row.deleting,
    agent,
    capacity: { instances: instancesMax, resources: resourcesMax },
    load: { instances, resources },
  };
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
  const [row] = await tx.query<Row>(
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
