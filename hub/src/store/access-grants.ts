/** Table access_grant: which role a member holds. */
import type { Tx } from "./tx.ts";

export type GrantRow = Readonly<{
  id: string;
  tenantId: string;
  memberId: string;
  /** owner or viewer. */
  role: string;
  expiresAt: Date | null;
}>;

/** Of one member, at most 50 by the API's rule. */
const GRANTS_MAX = 50;

/** Afterwards the member holds these and no others. */
export async function replace(
  tx: Tx,
  member: Readonly<{ id: string; tenantId: string }>,
  grants: readonly Pick<GrantRow, "id" | "role" | "expiresAt">[],
): Promise<void> {
  await tx.query("delete from access_grant where member_id = $1", [member.id]);
  for (const grant of grants.slice(0, GRANTS_MAX)) {
    await tx.query(
      "insert into access_grant (tenant_id, id, member_id, role, expires_at) values ($1, $2, $3, $4, $5)",
      [member.tenantId, grant.id, member.id, grant.role, grant.expiresAt],
    );
  }
}

/** Of several members, expired ones included. */
export function listOfMembers(tx: Tx, memberIds: readonly string[]): Promise<GrantRow[]> {
  return tx.query<GrantRow>(
    `select id, tenant_id as "tenantId", member_id as "memberId", role, expires_at as "expiresAt"
       from access_grant where member_id = any ($1::uuid[]) order by member_id, id`,
    [memberIds],
  );
}

/** Members with this role at this level whose grant has not expired; so that the last owner stays. */
export async function countHolders(tx: Tx, tenantId: string, role: string): Promise<number> {
  const rows = await tx.query<{ count: number }>(
    `select count(distinct g.member_id)::int as count
       from access_grant g
       join member m on m.tenant_id = g.tenant_id and m.id = g.member_id
      where g.tenant_id = $1 and g.role = $2 and (g.expires_at is null or g.expires_at > now())
        and m.deleted_at is null`,
    [tenantId, role],
  );
  return rows[0]?.count ?? 0;
}
