/** Table api_token: hashes of the tokens that members sign in with. */
import type { Tx } from "./tx.ts";

export type ApiTokenRow = Readonly<{
  id: string;
  tenantId: string;
  memberId: string;
  description: string;
  createdAt: Date;
  expiresAt: Date;
  revokedAt: Date | null;
}>;

export async function insert(
  tx: Tx,
  token: Pick<ApiTokenRow, "id" | "tenantId" | "memberId" | "description" | "expiresAt"> &
    Readonly<{ secretHash: Uint8Array }>,
): Promise<void> {
  await tx.query(
    `insert into api_token (tenant_id, id, member_id, secret_hash, description, expires_at)
     values ($1, $2, $3, $4, $5, $6)`,
    [
      token.tenantId,
      token.id,
      token.memberId,
      token.secretHash,
      token.description,
      token.expiresAt,
    ],
  );
}

export type SignIn = Readonly<{
  tokenId: string;
  tenantId: string;
  memberId: string;
  memberName: string;
  /** Not expired at the database's clock. */
  roles: readonly string[];
}>;

/** Who the token stands for; undefined when it is unknown, expired or revoked, or the member is leaving. */
export async function signIn(tx: Tx, secretHash: Uint8Array): Promise<SignIn | undefined> {
  const rows = await tx.query<SignIn>(
    `select t.id as "tokenId", t.tenant_id as "tenantId", m.id as "memberId", m.name as "memberName",
            array(select g.role from access_grant g
                   where g.tenant_id = t.tenant_id and g.member_id = m.id
                     and (g.expires_at is null or g.expires_at > now()) order by g.role) as roles
       from api_token t
       join member m on m.tenant_id = t.tenant_id and m.id = t.member_id
      where t.secret_hash = $1 and t.revoked_at is null and t.expires_at > now()
        and m.deleted_at is null and m.gone_at is null
        and not exists (select from tenant n where n.tenant_id = t.tenant_id and n.gone_at is not null)`,
    [secretHash],
  );
  return rows[0];
}

export async function get(tx: Tx, id: string): Promise<ApiTokenRow | undefined> {
  const rows = await tx.query<ApiTokenRow>(
    `select id, tenant_id as "tenantId", member_id as "memberId", description,
            created_at as "createdAt", expires_at as "expiresAt", revoked_at as "revokedAt"
       from api_token where id = $1`,
    [id],
  );
  return rows[0];
}

/** False when there is no such token; revoking twice is true both times. */
export async function revoke(tx: Tx, id: string): Promise<boolean> {
  const rows = await tx.query(
    "update api_token set revoked_at = coalesce(revoked_at, now()) where id = $1 returning id",
    [id],
  );
  return rows.length === 1;
}

export async function revokeOfMember(tx: Tx, memberId: string): Promise<void> {
  await tx.query(
    "update api_token set revoked_at = now() where member_id = $1 and revoked_at is null",
    [memberId],
  );
}
