/** Table key_set: signed key sets as they came. Versions of one purpose only grow. */
import type { Tx } from "./tx.ts";

export type KeySetRow = Readonly<{
  /** KeyPurpose: 1 release, 2 assignment, 3 destroy. */
  purpose: number;
  version: bigint;
  /** A serialised holdfast.model.v1.Envelope. */
  envelope: Uint8Array;
}>;

/** Throws ALREADY_EXISTS when there is this version already. */
export async function insert(tx: Tx, set: KeySetRow): Promise<void> {
  await tx.query("insert into key_set (purpose, version, envelope) values ($1, $2, $3)", [
    set.purpose,
    set.version,
    set.envelope,
  ]);
}

/** The newest of each purpose. */
export function listNewest(tx: Tx): Promise<KeySetRow[]> {
  return tx.query<KeySetRow>(
    `select distinct on (purpose) purpose, version, envelope from key_set order by purpose, version desc`,
  );
}

/** The newest version of each purpose that has one. */
export async function newest(tx: Tx): Promise<ReadonlyMap<number, bigint>> {
  const rows = await tx.query<Pick<KeySetRow, "purpose" | "version">>(
    "select purpose, max(version) as version from key_set group by purpose",
  );
  return new Map(rows.map(({ purpose, version }) => [purpose, version]));
}

/** All after `version`, oldest first, so that an agent can walk from the one it holds. At most 100. */
export function listAfter(tx: Tx, purpose: number, version: bigint): Promise<KeySetRow[]> {
  return tx.query<KeySetRow>(
    `select purpose, version, envelope from key_set where purpose = $1 and version > $2
      order by version limit 100`,
    [purpose, version],
  );
}
