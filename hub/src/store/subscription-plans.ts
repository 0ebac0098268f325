/** Table subscription: which plan version each stands for. */
import type { Tx } from "./tx.ts";

export type PlanOf = Readonly<{ planId: string; version: number }>;

/** By subscription id; those that are gone are absent. */
export async function plansOf(
  tx: Tx,
  subscriptionIds: readonly string[],
): Promise<ReadonlyMap<string, PlanOf>> {
  const rows = await tx.query<PlanOf & { id: string }>(
    `select id, plan_id as "planId", plan_version as version
       from subscription where id = any ($1::uuid[]) and gone_at is null`,
    [subscriptionIds],
  );
  return new Map(rows.map(({ id, planId, version }) => [id, { planId, version }]));
}

/** Pooled instances of a plan that are not on their way out; at most 2, to tell one from several. */
export async function poolsOf(tx: Tx, planId: string): Promise<readonly string[]> {
  const rows = await tx.query<{ id: string }>(
    `select id from instance
      where plan_id = $1 and tenant_id = '00000000-0000-0000-0000-000000000000'
        and deleted_at is null and gone_at is null
      order by created_at, id limit 2`,
    [planId],
  );
  return rows.map(({ id }) => id);
}
