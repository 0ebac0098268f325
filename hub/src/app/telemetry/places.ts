/**
 * Which instances a query of telemetry is about, found behind the wall: the store is asked for these and no others.
 * A pooled instance is the vendor's own row, so no tenant ever gets to it.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import * as instances from "../../store/instances.ts";
import { CELLS, INSTANCES } from "../../store/object-tables.ts";
import type { Tx } from "../../store/tx.ts";
import type { Place } from "../../telemetry/port.ts";
import { resolve, tenantIdOf } from "../reference.ts";
import { refuse } from "../refusal.ts";

/** Of one cell; a query about more is to name an instance. */
export const PLACES_MAX = 5_000;

export type Places = Readonly<{
  places: readonly Place[];
  /** Names by instance id. */
  names: ReadonlyMap<string, string>;
}>;

export type PlaceQuery = Readonly<{ instance: string; cell: string; tenant: string }>;

/** Throws NOT_FOUND for what the caller may not see as for what is not there. */
export async function placesOf(tx: Tx, { instance, cell, tenant }: PlaceQuery): Promise<Places> {
  if ((instance === "") === (cell === "")) {
    throw refuse("instance", "either this or a cell must be given", "PLACE_UNCLEAR");
  }
  return instance === "" ? inCell(tx, cell, tenant) : ofInstance(tx, instance, tenant);
}

export async function ofInstance(tx: Tx, text: string, tenant: string): Promise<Places> {
  const tenantId = await tenantIdOf(tx, tenant, "tenant");
  const reference = { kind: "instance", table: INSTANCES, text, path: "instance" } as const;
  const { id, name, fields } = await resolve(tx, { ...reference, tenantId });
  const place = { cellId: String(fields["cell_id"]), instanceId: id };
  return { places: [place], names: new Map([[id, name]]) };
}

async function inCell(tx: Tx, text: string, tenant: string): Promise<Places> {
  const tenantId = await tenantIdOf(tx, tenant, "tenant");
  const reference = { kind: "cell", table: CELLS, text, path: "cell", tenantId } as const;
  const cell = await resolve(tx, reference);
  const names = new Map<string, string>();
  for (let after: string | undefined; ; ) {
    const page = await instances.listInCell(tx, cell.id, after);
    for (const { id, name } of page) names.set(id, name);
    after = page.at(-1)?.id;
    if (page.length < instances.CELL_INSTANCES_MAX) break;
    if (names.size > PLACES_MAX) {
      const message = `cell: it has more than ${PLACES_MAX} instances; name one of them`;
      throw new Fault("RESOURCE_EXHAUSTED", "PLACES_TOO_MANY", message);
    }
  }
  const places = [...names.keys()].map((instanceId) => ({ cellId: cell.id, instanceId }));
  return { places, names };
}
