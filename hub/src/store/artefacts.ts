/** Tables artefact and release_artefact: what is known of blobs; the bytes are in the blob store. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

export type ArtefactRow = Readonly<{
  digest: string;
  size: bigint;
  received: bigint;
  complete: boolean;
}>;

const COLUMNS = "digest, size, received, complete";

export async function get(tx: Tx, digest: string): Promise<ArtefactRow | undefined> {
  const rows = await tx.query<ArtefactRow>(`select ${COLUMNS} from artefact where digest = $1`, [
    digest,
  ]);
  return rows[0];
}

/** The row, made if it is new, and locked: two uploads of one artefact append in turn. */
export async function lock(tx: Tx, digest: string, size: bigint): Promise<ArtefactRow> {
  await tx.query(
    `insert into artefact (digest, size) values ($1, $2)
     on conflict (vendor_id, tenant_id, digest) do nothing`,
    [digest, size],
  );
  const rows = await tx.query<ArtefactRow>(
    `select ${COLUMNS} from artefact where digest = $1 for update`,
    [digest],
  );
  const [row] = rows;
  if (row === undefined) throw new Fault("NOT_FOUND", "NOT_FOUND", "the artefact does not exist");
  return row;
}

/** `size` replaces a wrong one said earlier, as long as the artefact is not complete. */
export async function setReceived(tx: Tx, artefact: ArtefactRow): Promise<void> {
  await tx.query(
    `update artefact set size = $2, received = $3, complete = $4, updated_at = now()
      where digest = $1 and not complete`,
    [artefact.digest, artefact.size, artefact.received, artefact.complete],
  );
}

/** Those of the digests that are not completely there. */
export async function missing(tx: Tx, digests: readonly string[]): Promise<readonly string[]> {
  const rows = await tx.query<{ digest: string }>(
    `select wanted.digest from unnest($1::text[]) as wanted (digest)
      where not exists (select from artefact a where a.digest = wanted.digest and a.complete)`,
    [digests],
  );
  return rows.map(({ digest }) => digest);
}

export async function attach(
  tx: Tx,
  releaseId: string,
  artefacts: readonly Readonly<{ name: string; digest: string }>[],
): Promise<void> {
  await tx.query(
    `insert into release_artefact (release_id, name, digest)
     select $1, name, digest from unnest($2::text[], $3::text[]) as given (name, digest)`,
    [releaseId, artefacts.map(({ name }) => name), artefacts.map(({ digest }) => digest)],
  );
}

/** The artefact, if a release that an assignment of this cell names has it. */
export async function getForCell(
  tx: Tx,
  cellId: string,
  digest: string,
): Promise<ArtefactRow | undefined> {
  const rows = await tx.query<ArtefactRow>(
    `select ${COLUMNS} from artefact
      where digest = $2 and complete and exists (
        select from release_artefact ra
          join release r on r.id = ra.release_id
          join assignment a on a.release_digest = r.digest and a.cell_id = $1
         where ra.digest = $2)`,
    [cellId, digest],
  );
  return rows[0];
}
