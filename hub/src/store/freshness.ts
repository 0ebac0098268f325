/** Table freshness: the newest freshness note of each cell, so that all replicas say the same. */
import type { Tx } from "./tx.ts";

export type FreshnessRow = Readonly<{
  cellId: string;
  /** A serialised holdfast.model.v1.Envelope. */
  envelope: Uint8Array;
  signedAt: Date;
  expiresAt: Date;
}>;

/** Of several cells at once; each keeps the newer of what is there and what is given. */
export async function replace(tx: Tx, notes: readonly FreshnessRow[]): Promise<void> {
  await tx.query(
    `insert into freshness as f (tenant_id, cell_id, envelope, signed_at, expires_at)
     select c.tenant_id, c.id, n.envelope, n.signed_at, n.expires_at
       from unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::timestamptz[])
            as n (cell_id, envelope, signed_at, expires_at)
       join cell c on c.id = n.cell_id
     on conflict (vendor_id, tenant_id, cell_id) do update
       set envelope = excluded.envelope, signed_at = excluded.signed_at, expires_at = excluded.expires_at
     where f.signed_at <= excluded.signed_at`,
    [
      notes.map(({ cellId }) => cellId),
      notes.map(({ envelope }) => Buffer.from(envelope)),
      notes.map(({ signedAt }) => signedAt),
      notes.map(({ expiresAt }) => expiresAt),
    ],
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
