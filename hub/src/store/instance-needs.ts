/** Which instances take outputs of which others: column needs of table instance. */
import type { Tx } from "./tx.ts";

/** Of one cell. */
const NEEDING_MAX = 10_000;
const NAMES_MAX = 10_000;

export type Needing = Readonly<{
  id: string;
  name: string;
  /** Name that the release gives it to an instance's id. */
  needs: Readonly<Record<string, string>>;
}>;

/** Those of a cell that the caller sees and that are not gone. */
export function listInCell(tx: Tx, cellId: string): Promise<Needing[]> {
  return tx.query<Needing>(
    `select id, name, needs from instance
      where cell_id = $1 and gone_at is null and needs <> '{}' order by name, id limit ${NEEDING_MAX}`,
    [cellId],
  );
}

/** Nobody deletes them, or gives them needs of their own, before this transaction ends. */
export async function hold(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query(
    "select 1 from instance where id = any ($1::uuid[]) and gone_at is null order by id for share",
    [ids],
  );
}

/** As far as the caller may know of them; also of those that are gone. */
export async function names(tx: Tx, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await tx.query<{ id: string; name: string }>(
    `select id, name from instance where id = any ($1::uuid[]) limit ${NAMES_MAX}`,
    [ids],
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}
