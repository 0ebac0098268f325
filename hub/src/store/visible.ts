/**
 * The named views: names of the vendor's objects as far as the caller's own rows refer to them. Staff read
 * the same views and see all names.
 */
import type { Tx } from "./tx.ts";

const NAMES_MAX = 500;

export type VisibleKind = "plan" | "product" | "release" | "environment" | "cell";

/** Names by id. Ids that the caller may not know of are absent. At most 500. */
export async function names(
  tx: Tx,
  kind: VisibleKind,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.query<{ id: string; name: string }>(
    `select id, name from visible_${kind} where id = any ($1::uuid[]) limit ${NAMES_MAX}`,
    [ids],
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}

export type VisibleMeter = Readonly<{
  productId: string;
  name: string;
  unit: string;
  kind: number;
}>;

export function meters(tx: Tx): Promise<VisibleMeter[]> {
  return tx.query<VisibleMeter>(
    `select product_id as "productId", name, unit, kind from visible_meter limit ${NAMES_MAX}`,
  );
}
