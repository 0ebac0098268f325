/** Whom instances are of and where they are, with the names that people know them by: for who exports what they tell. */
import type { Tx } from "./tx.ts";

/** Of one question. */
export const OWNERS_ASKED_MAX = 1_000;

export type InstanceOwnerRow = Readonly<{
  vendorId: string;
  vendor: string;
  /** Empty for a pooled one. */
  tenantId: string;
  tenant: string;
  cellId: string;
  cell: string;
  product: string;
  instanceId: string;
  instance: string;
}>;

/** Also of those that are gone: what they told last may come after their end. */
export function list(tx: Tx, instanceIds: readonly string[]): Promise<InstanceOwnerRow[]> {
  return tx.query<InstanceOwnerRow>(
    `select i.vendor_id as "vendorId", v.name as vendor, coalesce(t.id::text, '') as "tenantId",
        coalesce(t.name, '') as tenant, c.id as "cellId", c.name as cell, p.name as product,
        i.id as "instanceId", i.name as instance
       from instance i
       join vendor v on v.id = i.vendor_id
       join cell c on c.vendor_id = i.vendor_id and c.id = i.cell_id
       join product p on p.vendor_id = i.vendor_id and p.id = i.product_id
       left join tenant t on t.vendor_id = i.vendor_id and t.id = i.tenant_id
      where i.id = any ($1::uuid[]) limit ${OWNERS_ASKED_MAX}`,
    [instanceIds],
  );
}
