/** Table freshness: the newest freshness note of each cell, so that all replicas say the same. */
import type { Tx } from "./tx.ts";

export type FreshnessRow = Readonly<{
  cellId: string;
  /** A serialised holdfast.model.v1.Envelope. */
  envelope: Uint8Array;
  signedAt: Date;
  expiresAt: Date;
}>;

export async function replace(tx: Tx, note: FreshnessRow): Promise<void> {
  await tx.query(
    `insert into freshness as f (tenant_id, cell_id, envelope, signed_at, expires_at)
     select tenant_id, id, $2, $3, $4 from cell where id = $1
     on conflict (vendor_id, tenant_id, cell_id) do update
       set envelope = excluded.envelope, signed_at = excluded.signed_at, expires_at = excluded.expires_at
     where f.signed_at <= excluded.signed_at`,
    [note.cellId, note.envelope, note.signedAt, note.expiresAt],
  );
}

export async function get(tx: Tx, cellId: string): Promise<FreshnessRow | undefined> {
  const rows = await tx.query<FreshnessRow>(
    `select cell_id as "cellId", envelope, signed_at as "signedAt", expires_at as "expiresAt"
       from freshness where cell_id = $1`,
    [cellId],
  );
  return rows[0];
}
