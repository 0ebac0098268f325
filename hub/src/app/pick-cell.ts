/**
 * Picks the cell of an instance whose spec names none, from snapshots before the change: the caller's own cells in
 * the caller's range, hosted ones in the vendor's. The database counts again when the change is committed.
 */
import type { Instance, InstanceSpec } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import { type CellFacts, type PlacementRequest, placeInstance } from "../domain/placement.ts";
import { CELLS, INSTANCES, SUBSCRIPTIONS } from "../store/object-tables.ts";
import { find } from "../store/objects.ts";
import * as placement from "../store/placement.ts";
import type { Tx } from "../store/tx.ts";
import { type Call, isStaff } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { type Catalogue, readCatalogue, termsOf } from "./kinds/catalogue.ts";
import { read } from "./mutation.ts";
import { impossible, placedBy, requestOf } from "./placing.ts";
import { lookUp, ownerIdOf } from "./reference.ts";

/** With the cell that was picked; for an instance that is there already, with the one that it has. */
export async function pickCell(
  deps: AppDeps,
  call: Call,
  message: Instance,
  spec: InstanceSpec,
): Promise<Catalogue> {
  const side = await read(deps, call, (tx) => callersSide(tx, message, spec));
  if (side.presentCellId !== undefined) {
    return readCatalogue(deps, call, { ...spec, cell: idOf("cell", side.presentCellId) });
  }
  return readCatalogue(deps, call, spec, async (tx, catalogue) => {
    const version = side.planVersion ?? Number(catalogue.plan.fields["newest_version"]);
    const request = requestOf({
      tenantId: side.tenantId,
      terms: termsOf(catalogue, version).spec,
      blueprint: catalogue.blueprint,
      wish: spec.placement,
      nowMs: deps.clock.now(),
    });
    const cells = [...side.ownCells, ...(await hostedCells(tx, request))];
    const decision = placeInstance(request, cells);
    if (decision.kind === "refused") {
      throw impossible("instance.spec.placement", decision.refusals, isStaff(call.caller));
    }
    const { cell } = decision;
    const isHosted = cell.tenantId === NIL_UUID;
    const [hostedCell] = isHosted ? await find(tx, CELLS, { id: cell.id }, false) : [];
    const placed = placedBy(decision, side.tenantId !== NIL_UUID);
    return { ...catalogue, hostedCell, picked: { cellId: cell.id, placed } };
  });
}

/** In a context that sees the vendor's rows. */
export function hostedCells(tx: Tx, request: PlacementRequest): Promise<CellFacts[]> {
  return placement.cells(tx, {
    owners: [NIL_UUID],
    labelKeys: request.labels.map(([key]) => key),
    drivers: request.drivers,
  });
}

type Side = Readonly<{
  tenantId: string;
  /** Of an instance that is there already. */
  presentCellId?: string;
  planVersion?: number;
  ownCells: readonly CellFacts[];
}>;

/** What is wrong with any of it is said by the change itself, which looks again. */
async function callersSide(tx: Tx, { metadata }: Instance, spec: InstanceSpec): Promise<Side> {
  const tenantId = await ownerIdOf(tx, metadata?.tenant ?? "", "instance.metadata.tenant");
  const reference = { kind: "instance", table: INSTANCES, path: "instance.metadata.name" } as const;
  const present = await lookUp(tx, { ...reference, text: metadata?.name ?? "", tenantId });
  if (present !== undefined) {
    return { tenantId, ownCells: [], presentCellId: String(present.fields["cell_id"]) };
  }
  if (tenantId === NIL_UUID) return { tenantId, ownCells: [] };
  const ownCells = await placement.cells(tx, { owners: [tenantId] });
  const { subscription: text } = spec;
  const path = "instance.spec.subscription";
  const subscription =
    text === ""
      ? undefined
      : await lookUp(tx, { kind: "subscription", table: SUBSCRIPTIONS, text, path, tenantId });
  return subscription === undefined
    ? { tenantId, ownCells }
    : { tenantId, ownCells, planVersion: Number(subscription.fields["plan_version"]) };
}
