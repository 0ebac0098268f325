/** Table join_token: hashes of the one-time tokens with which agents join. */
import type { Tx } from "./tx.ts";

export type JoinTokenRow = Readonly<{
  id: string;
  tenantId: string;
  cellId: string;
  /** Fencing number of the agent that its bearer replaces; 0: the cell has had none. */
  takesOver: bigint;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date;
  usedAt: Date | null;
  usedBy: string | null;
  revokedAt: Date | null;
}>;

const COLUMNS = `id, tenant_id as "tenantId", cell_id as "cellId", takes_over as "takesOver", created_by as "createdBy",
  created_at as "createdAt", expires_at as "expiresAt", used_at as "usedAt", used_by as "usedBy",
  revoked_at as "revokedAt"`;

export async function insert(
  tx: Tx,
  token: Pick<
    JoinTokenRow,
    "id" | "tenantId" | "cellId" | "takesOver" | "createdBy" | "expiresAt"
  > &
    Readonly<{ secretHash: Uint8Array }>,
): Promise<void> {
  await tx.query(
    `insert into join_token (tenant_id, id, cell_id, takes_over, secret_hash, created_by, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      token.tenantId,
      token.id,
      token.cellId,
      token.takesOver,
      token.secretHash,
      token.createdBy,
      token.expiresAt,
    ],
  );
}

/**
 * Spends the token for this agent: of any number of callers at once exactly one gets the row. Undefined
 * for the others and for a token that is unknown, wrong, expired, used or revoked: `get` tells why, for the
 * audit only.
 */
export async function redeem(
  tx: Tx,
  token: Readonly<{ id: string; secretHash: Uint8Array; agentId: string }>,
): Promise<JoinTokenRow | undefined> {
  const rows = await tx.query<JoinTokenRow>(
    `update join_token set used_at = now(), used_by = $3
      where id = $1 and secret_hash = $2 and used_at is null and revoked_at is null and expires_at > now()
  returning ${COLUMNS}`,
    [token.id, token.secretHash, token.agentId],
  );
  return rows[0];
}

export async function get(tx: Tx, id: string): Promise<JoinTokenRow | undefined> {
  const rows = await tx.query<JoinTokenRow>(`select ${COLUMNS} from join_token where id = $1`, [
    id,
  ]);
  return rows[0];
}

export async function revokeOfCell(tx: Tx, cellId: string): Promise<void> {
  await tx.query(
    "update join_token set revoked_at = now() where cell_id = $1 and used_at is null and revoked_at is null",
    [cellId],
  );
}

/** Deletes those that ended more than 30 days ago; returns how many. */
export async function prune(tx: Tx, limit: number): Promise<number> {
  const rows = await tx.query(
    `delete from join_token where id in (
       select id from join_token where expires_at < now() - interval '30 days' limit $1) returning 1`,
    [limit],
  );
  return rows.length;
}
