/** Table kept_data: what agents keep of instances and resources that are no more. Rows outlive the instance. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Tx } from "./tx.ts";

/** Of one instance; an agent that tells of more is taken at its word only so far. */
export const KEPT_NAMES_MAX = 100;

export type NewKept = Readonly<{
  tenantId: string;
  cellId: string;
  instanceId: string;
  name: string;
  resource: string;
  bytes: bigint;
  since: Date;
}>;

/** What is kept of these instances is this and nothing else; one row for each instance and name. */
export async function replaceAll(
  tx: Tx,
  instanceIds: readonly string[],
  rows: readonly NewKept[],
  at: Date,
): Promise<void> {
  if (instanceIds.length === 0) return;
  const column = <T>(of: (row: NewKept) => T) => rows.map(of);
  const keys = [column((row) => row.instanceId), column((row) => row.name)];
  await tx.query(
    `delete from kept_data where instance_id = any ($1::uuid[])
        and not exists (select from unnest($2::uuid[], $3::text[]) as r (instance_id, name)
                         where r.instance_id = kept_data.instance_id and r.name = kept_data.name)`,
    [instanceIds, ...keys],
  );
  if (rows.length === 0) return;
  await tx.query(
    `insert into kept_data (tenant_id, cell_id, instance_id, name, resource, bytes, since, reported_at)
     select r.*, $8 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[],
       $7::timestamptz[]) as r (tenant_id, cell_id, instance_id, name) order by r.instance_id, r.name
     on conflict (vendor_id, tenant_id, instance_id, name) do update
       set cell_id = excluded.cell_id, resource = excluded.resource, bytes = excluded.bytes,
           since = excluded.since, reported_at = excluded.reported_at`,
    [
      column((row) => row.tenantId),
      column((row) => row.cellId),
      ...keys,
      column((row) => row.resource),
      column((row) => row.bytes),
      column((row) => row.since),
      at,
    ],
  );
}

export type KeptRow = NewKept &
  Readonly<{
    /** Empty for the vendor's own. */
    tenantName: string;
    instanceName: string;
    /** Of the newest assignment. */
    incarnation: bigint;
    number: bigint;
    /** Null for an instance that is not gone. */
    undeleteUntil: Date | null;
    reportedAt: Date;
  }>;

export type Page = Readonly<{
  limit: number;
  after: Readonly<{ instanceId: string; name: string }> | undefined;
  tenantId: string | undefined;
  cellId: string | undefined;
  /** Only of these. */
  instanceIds: readonly string[] | undefined;
}>;

/** By instance and name. */
export function page(tx: Tx, asked: Page): Promise<KeptRow[]> {
  const { limit, after, tenantId, cellId, instanceIds } = asked;
  return tx.query<KeptRow>(
    `select k.tenant_id as "tenantId", k.cell_id as "cellId", k.instance_id as "instanceId", k.name, k.resource,
            k.bytes, k.since, k.reported_at as "reportedAt", coalesce(o.name, '') as "tenantName",
            i.name as "instanceName", i.assigned_incarnation as incarnation, i.assigned_number as number,
            i.undelete_until as "undeleteUntil"
       from kept_data k
       join instance i on i.vendor_id = k.vendor_id and i.tenant_id = k.tenant_id and i.id = k.instance_id
       left join tenant o on o.vendor_id = k.vendor_id and o.tenant_id = k.tenant_id and o.id = k.tenant_id
      where (k.instance_id, k.name) > ($1, $2) and ($3::uuid is null or k.tenant_id = $3)
        and ($4::uuid is null or k.cell_id = $4) and ($5::uuid[] is null or k.instance_id = any ($5))
      order by k.instance_id, k.name limit $6`,
    [
      after?.instanceId ?? NIL_UUID,
      after?.name ?? "",
      tenantId ?? null,
      cellId ?? null,
      instanceIds ?? null,
      limit,
    ],
  );
}
