/** Table api_token: hashes of the tokens that members sign in with. */
import { taskContext } from "./context.ts";
import type { Database } from "./database.ts";
import { callOnce } from "./statement.ts";
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
  /** Empty for a member of the vendor. */
  tenantName: string;
  memberId: string;
  memberName: string;
  /** Not expired at the database's clock. */
  roles: readonly string[];
}>;

/** Who the token stands for; null when it is unknown, expired or revoked, or who held it is leaving. */
export function signIn(
  database: Database,
  vendorId: string,
  secretHash: Uint8Array,
): Promise<SignIn | null> {
  const body = Buffer.from(secretHash).toString("hex");
  return callOnce(database, taskContext(vendorId, "sign-in"), "wall.sign_in", body);
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
