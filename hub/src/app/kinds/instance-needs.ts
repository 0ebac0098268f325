/**
 * Which instances stand for those that a release names. Each is in the same cell, of the product that is asked for, and of
 * the same tenant or the vendor's; none is needed by what it needs itself; and none goes while it is needed.
 */
import type { InstanceSpec } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import { cycleThrough, needing } from "../../domain/dependencies.ts";
import * as needs from "../../store/instance-needs.ts";
import { INSTANCES, PRODUCTS } from "../../store/object-tables.ts";
import type { ObjectRow } from "../../store/objects.ts";
import { lookUp, notFound } from "../reference.ts";
import { refuse, unfit } from "../refusal.ts";
import type { Target, Work } from "../standard.ts";
import type { Catalogue } from "./catalogue.ts";

/** Declared name to the instance's id. */
export type Needs = Readonly<Record<string, string>>;

/** Throws INVALID_ARGUMENT, NOT_FOUND, or FAILED_PRECONDITION `INSTANCE_UNFIT`, `DELETED`, `DEPENDENCY_CYCLE`. */
export async function needsFor(
  work: Work,
  { blueprint, release }: Catalogue,
  spec: InstanceSpec,
  target: Target,
  cellId: string,
): Promise<Needs> {
  const path = "instance.spec.instances";
  const declared = new Map(blueprint.instances.map((each) => [each.name, each]));
  const stranger = Object.keys(spec.instances).find((name) => !declared.has(name));
  if (stranger !== undefined) {
    const allowed = [...declared.keys()].join(", ") || "none";
    const rule = `release ${release.name} names no such instance; it names ${allowed}`;
    throw refuse(`${path}.${stranger}`, rule, "INSTANCE_UNNAMED");
  }
  const found: Record<string, string> = {};
  for (const { name, product } of declared.values()) {
    const text = spec.instances[name];
    if (text === undefined) {
      const rule = `release ${release.name} needs an instance of ${product}; name it`;
      throw refuse(`${path}.${name}`, rule, "INSTANCE_MISSING");
    }
    const needed = await neededBy(work, target, text, `${path}.${name}`);
    await checkFit(work, needed, { product, cellId, path: `${path}.${name}` });
    found[name] = needed.id;
  }
  if (declared.size > 0) {
    await needs.hold(work.tx, Object.values(found));
    await refuseCycle(work, target, cellId, found);
  }
  return found;
}

/** The tenant's own of this name, else the vendor's. */
async function neededBy(
  { tx }: Work,
  { tenantId }: Target,
  text: string,
  path: string,
): Promise<ObjectRow> {
  const reference = { kind: "instance", table: INSTANCES, text, path } as const;
  const own = await lookUp(tx, { ...reference, tenantId });
  const found = own ?? (await lookUp(tx, { ...reference, tenantId: NIL_UUID }));
  if (found === undefined) throw notFound(reference);
  return found;
}

async function checkFit(
  { tx }: Work,
  needed: ObjectRow,
  { product, cellId, path }: Readonly<{ product: string; cellId: string; path: string }>,
): Promise<void> {
  const { name, deletedAt, fields } = needed;
  if (deletedAt !== undefined) throw unfit(path, `instance ${name} is being deleted`, "DELETED");
  if (fields["cell_id"] !== cellId) {
    throw unfit(path, `instance ${name} is in another cell`, "INSTANCE_UNFIT");
  }
  const wanted = await lookUp(tx, { kind: "product", table: PRODUCTS, text: product, path });
  // A tenant's range does not show products: the agent judges it there.
  if (wanted === undefined || wanted.id === fields["product_id"]) return;
  throw unfit(path, `instance ${name} is not of product ${product}`, "INSTANCE_UNFIT");
}

async function refuseCycle(
  { tx }: Work,
  { id, row }: Target,
  cellId: string,
  found: Needs,
): Promise<void> {
  const others = (await needs.listInCell(tx, cellId)).filter((each) => each.id !== id);
  const all = [...others, { id, name: row?.name ?? "it", needs: found }];
  const way = cycleThrough(
    id,
    all.map((each) => ({ id: each.id, needs: Object.values(each.needs) })),
  );
  if (way === undefined) return;
  const nameOf = new Map(all.map((each) => [each.id, each.name]));
  const shown = way.map((each) => nameOf.get(each) ?? idOf("instance", each)).join(" -> ");
  throw new Fault(
    "FAILED_PRECONDITION",
    "DEPENDENCY_CYCLE",
    `instance.spec.instances: each would wait for the other: ${shown}`,
  );
}

/** Throws FAILED_PRECONDITION `STILL_NEEDED` with the names of those that need it. */
export async function refuseNeeded({ tx }: Work, { id, name, fields }: ObjectRow): Promise<void> {
  const rows = await needs.listInCell(tx, String(fields["cell_id"]));
  const all = rows.map((each) => ({ ...each, needs: Object.values(each.needs) }));
  const names = needing(id, all).map((each) => each.name);
  if (names.length === 0) return;
  throw new Fault(
    "FAILED_PRECONDITION",
    "STILL_NEEDED",
    `instance ${name}: ${names.slice(0, NAMED_MAX).join(", ")} take${names.length === 1 ? "s" : ""} outputs of it; delete or change them first`,
    { next: `holdfast describe instance ${names[0]}` },
  );
}

/** In one refusal; there may be more. */
const NAMED_MAX = 10;
