/** The cell of an instance: the one that the spec names, the one that the hub picked, or the one that it has. */
import { isDeepStrictEqual } from "node:util";
import type { InstanceSpec } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import type { PlanSpec } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { lacking } from "../../domain/placement.ts";
import { CELLS } from "../../store/object-tables.ts";
import { type Fields, find, type ObjectRow } from "../../store/objects.ts";
import * as placement from "../../store/placement.ts";
import { asksOf, checkNamed, NAMED, type Placed, quotaReached, storedWish } from "../placing.ts";
import { lookUp, notFound } from "../reference.ts";
import { refuse, unfit } from "../refusal.ts";
import type { Target, Work } from "../standard.ts";
import type { Catalogue } from "./catalogue.ts";

type Wanted = Readonly<{ spec: InstanceSpec; terms: PlanSpec; target: Target }>;

/** The columns that say where, what was asked for, and why there. */
export async function cellFor(work: Work, catalogue: Catalogue, wanted: Wanted): Promise<Fields> {
  const { spec, terms, target } = wanted;
  const { row } = target;
  if (row !== undefined) return keptCell(work, catalogue, wanted, row);
  if (spec.cell === "") {
    const { cell, placed } = await pickedCell(work, catalogue);
    return fieldsOf(cell, storedWish(spec.placement), placed);
  }
  const cell = await namedCell(work, catalogue, spec, target.tenantId);
  checkNamed("instance.spec.cell", cell, terms, spec.placement);
  await checkRoom(work, cell, terms);
  return fieldsOf(cell, storedWish(spec.placement), NAMED);
}

/** Throws RESOURCE_EXHAUSTED `PLAN_QUOTA` if the plan allows no further instance. */
export async function checkQuota(
  { tx }: Work,
  { plan, isPooled }: Catalogue,
  { instancesMax }: PlanSpec,
  subscription: ObjectRow | undefined,
  /** How many of those that count are the one that is asked about. */
  own = 0,
): Promise<void> {
  if (instancesMax === 0) return;
  if (isPooled) await placement.lockPlan(tx, plan.id);
  const used =
    subscription === undefined
      ? await placement.countOfPlan(tx, plan.id)
      : await placement.countOfSubscription(tx, subscription.tenantId, subscription.id);
  if (used - own < instancesMax) return;
  const whose = subscription === undefined ? "" : ` for subscription ${subscription.name}`;
  throw quotaReached("instance.spec.plan", plan, { limit: instancesMax, used }, whose);
}

function fieldsOf(cell: Pick<ObjectRow, "id" | "tenantId">, wish: Fields, placed: unknown): Fields {
  return { cell_id: cell.id, cell_tenant_id: cell.tenantId, placement: wish, placed };
}

async function keptCell(
  work: Work,
  catalogue: Catalogue,
  { spec, target }: Wanted,
  { fields }: ObjectRow,
): Promise<Fields> {
  const kept = { id: String(fields["cell_id"]), tenantId: String(fields["cell_tenant_id"]) };
  const stored = fields["placement"] as Fields;
  if (spec.placement !== undefined && !isDeepStrictEqual(stored, storedWish(spec.placement))) {
    throw refuse("instance.spec.placement", "never changes; make another instance", "IMMUTABLE");
  }
  const named = spec.cell === "" ? kept : await namedCell(work, catalogue, spec, target.tenantId);
  return fieldsOf(named, stored, fields["placed"]);
}

async function namedCell(
  { tx }: Work,
  { hostedCell, isPooled }: Catalogue,
  { cell: text }: InstanceSpec,
  tenantId: string,
): Promise<ObjectRow> {
  const path = "instance.spec.cell";
  const reference = { kind: "cell", table: CELLS, text, path } as const;
  const owned = isPooled ? undefined : await lookUp(tx, { ...reference, tenantId });
  const cell = owned ?? hostedCell;
  if (cell === undefined) throw notFound(reference);
  if (cell.deletedAt === undefined) return cell;
  throw unfit(path, `cell ${cell.name} is being deleted`, "DELETED");
}

/** It was picked in a snapshot before this transaction. */
async function pickedCell(
  { tx }: Work,
  { picked, hostedCell }: Catalogue,
): Promise<Readonly<{ cell: ObjectRow; placed: Placed }>> {
  const [own] =
    picked === undefined || hostedCell !== undefined
      ? [hostedCell]
      : await find(tx, CELLS, { id: picked.cellId }, false);
  if (picked !== undefined && own !== undefined) return { cell: own, placed: picked.placed };
  throw new Fault(
    "ABORTED",
    "CONFLICT",
    "another change of the instance or its cell came in between",
  );
}

/** The database counts once more at the commit; this one can name the numbers, where the caller may see them. */
async function checkRoom({ tx }: Work, cell: ObjectRow, terms: PlanSpec): Promise<void> {
  const room = await placement.roomOf(tx, cell.id);
  const full = room && lacking(room, asksOf(terms));
  if (full === undefined) return;
  const { what, limit, used } = full;
  throw new Fault(
    "RESOURCE_EXHAUSTED",
    "CELL_FULL",
    `instance.spec.cell: cell ${cell.name} has no room: ${used} of ${limit} ${what}; leave the cell out to have one picked`,
    {
      metadata: { what, limit: String(limit), used: String(used) },
      next: `holdfast describe cell ${cell.name}`,
    },
  );
}
