/** For the tests of placement: a request, and cells that fit it. */
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { CellFacts, PlacementRequest } from "./placement.ts";

export const NOW = 1_800_000_000_000;
export const ACME = "11111111-1111-7111-8111-111111111111";
export const GLOBEX = "22222222-2222-7222-8222-222222222222";

/** Fits whatever is asked. */
export const perfect = ({
  tenantId,
  kinds,
  region,
  labels: wanted,
  drivers,
}: PlacementRequest): CellFacts => ({
  id: "cell-99",
  name: "perfect",
  tenantId: kinds.includes("hosted") ? NIL_UUID : tenantId,
  region,
  labels: Object.fromEntries(wanted),
  deleting: false,
  agent: { awaySinceMs: undefined, drivers: [...drivers] },
  capacity: { instances: 0, resources: {} },
  load: { instances: 0, resources: {} },
});

export const base: PlacementRequest = {
  tenantId: ACME,
  kinds: [],
  region: "",
  labels: [],
  drivers: ["process"],
  asks: { cpu: 2 },
  nowMs: NOW,
};
export const good: CellFacts = { ...perfect(base), tenantId: NIL_UUID, id: "a", name: "a" };
export const named = (name: string, change: Partial<CellFacts> = {}): CellFacts => ({
  ...good,
  id: name,
  name,
  ...change,
});
