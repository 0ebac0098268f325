/**
 * Whom a release or a cell concerns: conditions that narrow the lists of instances and seats. Releases and cells are
 * looked up through the named views, so that a tenant can ask for those that its own rows refer to and no others.
 */
import type { Condition } from "./objects.ts";
import type { Tx } from "./tx.ts";

/** A version names one release of each product. */
const RELEASES_MAX = 500;
/** Tenants may give their cells the same name. */
const CELLS_MAX = 500;

export type VisibleRelease = Readonly<{ id: string; productId: string; version: string }>;

/** By id, or by name or version. */
export function releases(
  tx: Tx,
  key: Readonly<{ id: string } | { text: string }>,
): Promise<VisibleRelease[]> {
  const isById = "id" in key;
  return tx.query<VisibleRelease>(
    `select id, product_id as "productId", version from visible_release
      where ${isById ? "id = $1" : "(name = $1 or version = $1)"} limit ${RELEASES_MAX}`,
    [isById ? key.id : key.text],
  );
}

/** By id, or by name. */
export async function cells(
  tx: Tx,
  key: Readonly<{ id: string } | { text: string }>,
): Promise<readonly string[]> {
  const isById = "id" in key;
  const rows = await tx.query<{ id: string }>(
    `select id from visible_cell where ${isById ? "id" : "name"} = $1 limit ${CELLS_MAX}`,
    [isById ? key.id : key.text],
  );
  return rows.map(({ id }) => id);
}

/** Instances and seats both carry their cell. */
export function inCells(ids: readonly string[]): Condition {
  return (bind) => `t.cell_id = any (${bind(ids)}::uuid[])`;
}

/** Instances that want one of the releases, or are served by one. */
export function concernedBy(found: readonly VisibleRelease[]): Condition {
  return (bind) => {
    const [ids, products, versions] = [
      found.map(({ id }) => id),
      found.map(({ productId }) => productId),
      found.map(({ version }) => version),
    ].map(bind);
    return `t.id in (
      select w.id from instance w where w.release_id = any (${ids}::uuid[]) and w.gone_at is null
      union
      select s.instance_id
        from unnest(${products}::uuid[], ${versions}::text[]) r(product_id, version)
        join instance_status s on s.committed_release = r.version
        join instance i on i.id = s.instance_id and i.product_id = r.product_id)`;
  };
}

/** Seats whose instance one of the releases serves. */
export function servedBy(found: readonly VisibleRelease[]): Condition {
  return (bind) => {
    const products = bind(found.map(({ productId }) => productId));
    const versions = bind(found.map(({ version }) => version));
    return `t.id in (
      select v.seat_id from seat_instance v
        join unnest(${products}::uuid[], ${versions}::text[]) r(product_id, version)
          on v.product_id = r.product_id and v.committed_release = r.version)`;
  };
}
