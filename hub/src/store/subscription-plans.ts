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
