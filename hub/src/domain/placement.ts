/**
 * Where a new instance or seat goes. Pure: a request, the cells that may come into question with what is in them,
 * and for seats the pooled instances; the answer is a place, or one reason for each of them. Does not depend on the
 * order of its input. Reserves nothing: the database counts again when the change is committed.
 */
import { NIL_UUID } from "@holdfast/shared/ids.ts";

/** An agent that was away for longer gets nothing new by itself: what it can do is no longer known. */
export const CELL_AWAY_MS_MAX = 15 * 60_000;

/** Named resources; whole numbers. */
export type Amounts = Readonly<Record<string, number>>;

export type CellFacts = Readonly<{
  id: string;
  name: string;
  /** Nil for a hosted one. */
  tenantId: string;
  region: string;
  labels: Readonly<Record<string, string>>;
  deleting: boolean;
  /** The active one; undefined as long as none has joined and said what it can do. */
  agent: AgentFacts | undefined;
  /** 0 instances: no bound. A resource that is not named has none either. */
  capacity: Readonly<{ instances: number; resources: Amounts }>;
  load: Readonly<{ instances: number; resources: Amounts }>;
}>;

export type AgentFacts = Readonly<{
  /** Since when it is away; undefined while it is connected. */
  awaySinceMs: number | undefined;
  /** Kinds of resources that it can run. */
  drivers: readonly string[];
}>;

/** A pooled instance of the plan. */
export type PoolFacts = Readonly<{
  id: string;
  name: string;
  cellId: string;
  /** Taken, the vendor's reserved one left out. */
  seats: number;
  seatsMax: number;
  deleting: boolean;
}>;

export type CellKindWord = "byoa" | "hosted";

export type PlacementRequest = Readonly<{
  /** Owner of the instance; nil for a pooled one. */
  tenantId: string;
  /** As the plan says; empty: the rule of `kindsOf`. */
  kinds: readonly CellKindWord[];
  /** Empty: any. */
  region: string;
  labels: readonly (readonly [key: string, value: string])[];
  drivers: readonly string[];
  asks: Amounts;
  nowMs: number;
}>;

/** What is wrong with a cell, the farthest from fitting first. */
export const REFUSAL_REASONS = [
  "OWNER",
  "KIND",
  "REGION",
  "LABEL",
  "DELETING",
  "NO_AGENT",
  "AWAY",
  "DRIVER_MISSING",
  "FULL",
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** `what` is the label, driver or resource that it is about; limit and used are there when FULL. */
export type Refusal = Readonly<{
  kind: "cell" | "instance";
  id: string;
  name: string;
  isHosted: boolean;
  region: string;
  reason: RefusalReason;
  what: string;
  limit?: number;
  used?: number;
}>;

/** `among`: how many fitted just as well but for their load. */
type Choice = Readonly<{ cell: CellFacts; among: number }>;

export type Decision =
  | (Choice & Readonly<{ kind: "cell" | "open" }>)
  | (Choice & Readonly<{ kind: "seat"; pool: PoolFacts }>)
  | Readonly<{ kind: "refused"; refusals: readonly Refusal[] }>;

/** A cell for an instance. */
export function placeInstance(request: PlacementRequest, cells: readonly CellFacts[]): Decision {
  const judged = judge(request, cells);
  const choice = best(request, judged.fitting);
  return choice === undefined
    ? { kind: "refused", refusals: sorted(judged.refusals) }
    : { kind: "cell", ...choice };
}

/**
 * A seat in a pooled instance. One whose agent is there comes first, then a new instance if `mayOpen`, and at
 * last a seat where the agent is away: the tenant is served when it comes back.
 */
export function placeSeat(
  request: PlacementRequest,
  cells: readonly CellFacts[],
  pools: readonly PoolFacts[],
  mayOpen: boolean,
): Decision {
  const byId = new Map(cells.map((cell) => [cell.id, cell]));
  const open: Seatable[] = [];
  const refusals: Refusal[] = [];
  for (const pool of pools) {
    const cell = byId.get(pool.cellId);
    if (cell === undefined) continue;
    const reason = poolReason(request, pool, cell);
    if (reason === undefined) open.push({ pool, cell });
    else
      refusals.push({ ...subjectOf(cell, reason), kind: "instance", id: pool.id, name: pool.name });
  }
  const served = bestSeat(open.filter(({ cell }) => isServed(request, cell)));
  if (served !== undefined) return served;
  const judged = mayOpen ? judge(request, cells) : { fitting: [], refusals: [] };
  const choice = best(request, judged.fitting);
  if (choice !== undefined) return { kind: "open", ...choice };
  return bestSeat(open) ?? { kind: "refused", refusals: sorted([...refusals, ...judged.refusals]) };
}

/** Whether the cell's agent is there, or was a short time ago. */
export function isServed(request: Pick<PlacementRequest, "nowMs">, cell: CellFacts): boolean {
  return agentReason(request, cell) === undefined;
}

/** The first resource, or "instances", of which the cell has too little left. */
export function lacking(
  { capacity, load }: Pick<CellFacts, "capacity" | "load">,
  asks: Amounts,
): Readonly<{ what: string; limit: number; used: number }> | undefined {
  if (capacity.instances > 0 && load.instances >= capacity.instances) {
    return { what: "instances", limit: capacity.instances, used: load.instances };
  }
  for (const what of Object.keys(asks).sort(byText)) {
    const limit = capacity.resources[what];
    const used = load.resources[what] ?? 0;
    if (limit !== undefined && used + (asks[what] ?? 0) > limit) return { what, limit, used };
  }
  return undefined;
}

/** How full a cell is, by the fullest of what is bounded; 0 where nothing is. */
export function fullness({ capacity, load }: Pick<CellFacts, "capacity" | "load">): number {
  const shares = Object.entries(capacity.resources).map(([what, limit]) =>
    shareOf(load.resources[what] ?? 0, limit),
  );
  if (capacity.instances > 0) shares.push(shareOf(load.instances, capacity.instances));
  return Math.max(0, ...shares);
}

type Found = Pick<Refusal, "reason" | "what"> & Readonly<{ limit?: number; used?: number }>;
type Seatable = Readonly<{ pool: PoolFacts; cell: CellFacts }>;

function judge(request: PlacementRequest, cells: readonly CellFacts[]) {
  const kinds = kindsOf(request, cells);
  const fitting: CellFacts[] = [];
  const refusals: Refusal[] = [];
  for (const cell of cells) {
    const found =
      placeReason(request, kinds, cell) ??
      agentReason(request, cell) ??
      driverReason(request, cell) ??
      roomReason(request, cell);
    if (found === undefined) fitting.push(cell);
    else refusals.push(subjectOf(cell, found));
  }
  return { fitting, refusals };
}

/**
 * A tenant that has a cell of its own is not put into the vendor's unless the plan says so: where its data lies
 * must not depend on how full a cell is.
 */
function kindsOf(
  { kinds, tenantId }: PlacementRequest,
  cells: readonly CellFacts[],
): readonly CellKindWord[] {
  if (kinds.length > 0) return kinds;
  const hasOwn = tenantId !== NIL_UUID && cells.some((cell) => cell.tenantId === tenantId);
  return hasOwn ? ["byoa"] : ["hosted"];
}

function placeReason(
  { tenantId, region, labels }: PlacementRequest,
  kinds: readonly CellKindWord[],
  cell: CellFacts,
): Found | undefined {
  const isHosted = cell.tenantId === NIL_UUID;
  if (!isHosted && cell.tenantId !== tenantId) return { reason: "OWNER", what: "" };
  if (!kinds.includes(isHosted ? "hosted" : "byoa")) {
    return { reason: "KIND", what: isHosted ? "hosted" : "byoa" };
  }
  if (region !== "" && cell.region !== region) return { reason: "REGION", what: cell.region };
  const missing = labels.find(([key, value]) => cell.labels[key] !== value);
  if (missing !== undefined) return { reason: "LABEL", what: missing.join("=") };
  return cell.deleting ? { reason: "DELETING", what: "" } : undefined;
}

function agentReason(
  { nowMs }: Pick<PlacementRequest, "nowMs">,
  { agent }: CellFacts,
): Found | undefined {
  if (agent === undefined) return { reason: "NO_AGENT", what: "" };
  const isAway = agent.awaySinceMs !== undefined && nowMs - agent.awaySinceMs > CELL_AWAY_MS_MAX;
  return isAway ? { reason: "AWAY", what: "" } : undefined;
}

function driverReason({ drivers }: PlacementRequest, { agent }: CellFacts): Found | undefined {
  const missing = drivers.filter((driver) => !agent?.drivers.includes(driver)).sort(byText);
  return missing[0] === undefined ? undefined : { reason: "DRIVER_MISSING", what: missing[0] };
}

function roomReason({ asks }: PlacementRequest, cell: CellFacts): Found | undefined {
  const found = lacking(cell, asks);
  return found && { reason: "FULL", ...found };
}

function poolReason(request: PlacementRequest, pool: PoolFacts, cell: CellFacts) {
  const found = placeReason(request, kindsOf(request, []), cell);
  if (found !== undefined) return found;
  if (pool.deleting) return { reason: "DELETING", what: "" } as const;
  if (pool.seats < pool.seatsMax) return undefined;
  return { reason: "FULL", what: "seats", limit: pool.seatsMax, used: pool.seats } as const;
}

/** The tenant's own before the vendor's, connected before away, the emptiest, then by name. */
function best(request: PlacementRequest, fitting: readonly CellFacts[]): Choice | undefined {
  const classOf = ({ tenantId, agent }: CellFacts) =>
    (tenantId === request.tenantId ? 0 : 2) + (agent?.awaySinceMs === undefined ? 0 : 1);
  const highest = Math.min(...fitting.map(classOf));
  const peers = fitting.filter((cell) => classOf(cell) === highest);
  const cell = least(
    peers,
    (a, b) => fullness(a) - fullness(b) || a.load.instances - b.load.instances || byName(a, b),
  );
  return cell && { cell, among: peers.length };
}

function bestSeat(open: readonly Seatable[]): Decision | undefined {
  const found = least(open, ({ pool: a }, { pool: b }) => {
    const difference = shareOf(a.seats, a.seatsMax) - shareOf(b.seats, b.seatsMax);
    return difference || a.seats - b.seats || byName(a, b);
  });
  return found && { kind: "seat", ...found, among: open.length };
}

function subjectOf(cell: CellFacts, found: Found): Refusal {
  const { id, name, region } = cell;
  return { kind: "cell", id, name, region, isHosted: cell.tenantId === NIL_UUID, ...found };
}

function sorted(refusals: readonly Refusal[]): readonly Refusal[] {
  const worst = ({ reason }: Refusal) => REFUSAL_REASONS.indexOf(reason);
  return [...refusals].sort((a, b) => worst(a) - worst(b) || byName(a, b));
}

function shareOf(used: number, limit: number): number {
  return limit === 0 ? 1 : used / limit;
}

function least<T>(all: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  return all.reduce<T | undefined>(
    (held, each) => (held === undefined || compare(each, held) < 0 ? each : held),
    undefined,
  );
}

type Named = Readonly<{ name: string; id: string }>;

function byName(a: Named, b: Named): number {
  return byText(a.name, b.name) || byText(a.id, b.id);
}

/** By code units: the same everywhere. */
function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
