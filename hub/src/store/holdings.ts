/** What still belongs to a tenant or runs in a cell: the reasons why it cannot be deleted yet. Reads several tables. */
import type { Tx } from "./tx.ts";

export type Holding = Readonly<{ kind: "subscription" | "instance" | "cell"; name: string }>;

/** Named in one refusal; there may be more. */
const HOLDINGS_MAX = 10;

/** In the order in which they have to go. */
export function ofTenant(tx: Tx, tenantId: string): Promise<Holding[]> {
  return tx.query<Holding>(
    `select kind, name from (
       select 1 as turn, 'instance' as kind, name from instance where tenant_id = $1 and gone_at is null
       union all
       select 2, 'subscription', name from subscription where tenant_id = $1 and gone_at is null
       union all
       select 3, 'cell', name from cell where tenant_id = $1 and gone_at is null
     ) held order by turn, name limit ${HOLDINGS_MAX}`,
    [tenantId],
  );
}

export function ofCell(tx: Tx, cellId: string): Promise<Holding[]> {
  return tx.query<Holding>(
    `select 'instance' as kind, name from instance where cell_id = $1 and gone_at is null
      order by name limit ${HOLDINGS_MAX}`,
    [cellId],
  );
}

/** Instances that belong to a subscription. */
export function ofSubscription(tx: Tx, subscriptionId: string): Promise<Holding[]> {
  return tx.query<Holding>(
    `select 'instance' as kind, name from instance where subscription_id = $1 and gone_at is null
      order by name limit ${HOLDINGS_MAX}`,
    [subscriptionId],
  );
}

/** Tenants' seats in an instance, by the names of their tenants. */
export async function seatsOf(tx: Tx, instanceId: string): Promise<readonly string[]> {
  const rows = await tx.query<{ name: string }>(
    `select name from seat where instance_id = $1 and not reserved and gone_at is null
      order by name limit ${HOLDINGS_MAX}`,
    [instanceId],
  );
  return rows.map(({ name }) => name);
}
