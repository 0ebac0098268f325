/** Table plan_version: what each immutable version of a plan says. The plan itself is an object (objects.ts). */
import type { Tx } from "./tx.ts";

const VERSIONS_MAX = 500;

export type PlanVersion = Readonly<{
  planId: string;
  version: number;
  /** TenancyModel: 1 pooled, 2 dedicated. */
  tenancyModel: number;
  seatsMax: number;
  /** Proto JSON of holdfast.api.v1.PlanSpec. */
  spec: Readonly<Record<string, unknown>>;
  createdAt: Date;
}>;

export async function insertVersion(
  tx: Tx,
  version: Omit<PlanVersion, "createdAt">,
): Promise<void> {
  await tx.query(
    `insert into plan_version (plan_id, version, tenancy_model, seats_max, spec)
     values ($1, $2, $3, $4, $5)`,
    [
      version.planId,
      version.version,
      version.tenancyModel,
      version.seatsMax,
      JSON.stringify(version.spec),
    ],
  );
}

export async function getVersion(
  tx: Tx,
  planId: string,
  version: number,
): Promise<PlanVersion | undefined> {
  const rows = await listVersions(tx, [{ planId, version }]);
  return rows[0];
}

/** Those that exist and are visible; at most 500. */
export function listVersions(
  tx: Tx,
  wanted: readonly Readonly<{ planId: string; version: number }>[],
): Promise<PlanVersion[]> {
  return tx.query<PlanVersion>(
    `select v.plan_id as "planId", v.version, v.tenancy_model as "tenancyModel",
            v.seats_max as "seatsMax", v.spec, v.created_at as "createdAt"
       from plan_version v
       join unnest($1::uuid[], $2::int[]) as w (plan_id, version)
         on v.plan_id = w.plan_id and v.version = w.version
      limit ${VERSIONS_MAX}`,
    [wanted.map(({ planId }) => planId), wanted.map(({ version }) => version)],
  );
}
