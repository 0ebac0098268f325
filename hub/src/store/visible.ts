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
  if (ids.length === 0) return new Map();
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

export type NamedKind = VisibleKind | "subscription";

/** A subscription is a tenant's own row and has no view. */
const NAME_SOURCES: Readonly<Record<NamedKind, string>> = {
  plan: "visible_plan",
  product: "visible_product",
  release: "visible_release",
  environment: "visible_environment",
  cell: "visible_cell",
  subscription: "subscription",
};
const NAMED_KINDS = Object.keys(NAME_SOURCES) as NamedKind[];

export type NamesByKind = Readonly<Record<NamedKind, ReadonlyMap<string, string>>>;

/** The same for several kinds in one statement: each statement on its own costs a check of the context. */
export async function namesByKind(
  tx: Tx,
  ids: Readonly<Record<NamedKind, readonly string[]>>,
): Promise<NamesByKind> {
  const wanted = NAMED_KINDS.filter((kind) => ids[kind].length > 0);
  const parts = wanted.map(
    (kind, at) => `(select '${kind}' as kind, id, name from ${NAME_SOURCES[kind]}
                     where id = any ($${at + 1}::uuid[]) limit ${NAMES_MAX})`,
  );
  const rows =
    parts.length === 0
      ? []
      : await tx.query<{ kind: NamedKind; id: string; name: string }>(
          parts.join(" union all "),
          wanted.map((kind) => [...new Set(ids[kind])]),
        );
  const named = (kind: NamedKind) =>
    new Map(rows.filter((row) => row.kind === kind).map(({ id, name }) => [id, name]));
  return {
    plan: named("plan"),
    product: named("product"),
    release: named("release"),
    environment: named("environment"),
    cell: named("cell"),
    subscription: named("subscription"),
  };
}
