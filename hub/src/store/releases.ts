/** Table release beyond what all objects have (objects.ts): releases by digest, and what a cell may fetch. */
import type { Tx } from "./tx.ts";

export type ReleaseRow = Readonly<{
  id: string;
  name: string;
  productId: string;
  version: string;
  number: bigint;
  digest: string;
  keyIds: readonly string[];
  /** A serialised holdfast.model.v1.Envelope, as uploaded. */
  envelope: Uint8Array;
  createdAt: Date;
}>;

const COLUMNS = `id, name, product_id as "productId", version, number, digest, key_ids as "keyIds",
  envelope, created_at as "createdAt"`;

export async function get(tx: Tx, id: string): Promise<ReleaseRow | undefined> {
  const rows = await tx.query<ReleaseRow>(
    `select ${COLUMNS} from release where id = $1 and gone_at is null`,
    [id],
  );
  return rows[0];
}

export async function findByDigest(tx: Tx, digest: string): Promise<ReleaseRow | undefined> {
  const rows = await tx.query<ReleaseRow>(
    `select ${COLUMNS} from release where digest = $1 and gone_at is null`,
    [digest],
  );
  return rows[0];
}

/** The highest number that was published of a product; 0: none. */
export async function newestNumber(tx: Tx, productId: string): Promise<bigint> {
  const rows = await tx.query<{ number: bigint }>(
    "select coalesce(max(number), 0) as number from release where product_id = $1",
    [productId],
  );
  return rows[0]?.number ?? 0n;
}

/** The envelope of a release that an assignment of this cell names; undefined for any other. */
export async function envelopeForCell(
  tx: Tx,
  cellId: string,
  digest: string,
): Promise<Uint8Array | undefined> {
  const rows = await tx.query<{ envelope: Uint8Array }>(
    `select r.envelope from release r
      where r.digest = $2
        and exists (select from assignment a where a.cell_id = $1 and a.release_digest = r.digest)`,
    [cellId, digest],
  );
  return rows[0]?.envelope;
}
