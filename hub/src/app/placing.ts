/**
 * Between the rules of placement (domain/placement.ts) and callers: what a plan and a wish ask for, why a place was
 * chosen, and the refusal when nothing fits. A tenant learns no name, count or number of the vendor's cells.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { CellKind } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import type { Placement } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import type { PlanSpec } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import type { Blueprint } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { driversFor } from "@holdfast/shared/blueprint/kinds/kinds.ts";
import { Fault, type Violation } from "@holdfast/shared/fault.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type { Amounts, Decision, PlacementRequest, Refusal } from "../domain/placement.ts";
import type { ObjectRow } from "../store/objects.ts";
import { unfit } from "./refusal.ts";

/** Each one lost means that another creation took a place in between, so each one gets nearer to the end. */
export const PLACEMENT_TRIES_MAX = 20;
/** What another creation at the same time costs, in tries; waiting for a lock takes seconds each time. */
const TRIES_LOST: Readonly<Record<string, number>> = {
  CELL_FULL: 1,
  SEATS_FULL: 1,
  LOCK_TIMEOUT: 5,
};
/** Of a named resource: well inside of what JSON and the database's counting hold exactly. */
export const AMOUNT_MAX = 1_000_000_000_000_000n;

/** Why something is where it is; as stored. */
export type Placed = Readonly<{ reason: "NAMED" | "ONLY_FIT" | "LEAST_LOADED"; message: string }>;

export const NAMED: Placed = { reason: "NAMED", message: "named by the spec" };

type Asked = Readonly<{
  tenantId: string;
  terms: PlanSpec;
  /** What is to run there; a seat needs nothing to run. */
  blueprint: Blueprint | undefined;
  wish: Placement | undefined;
  nowMs: number;
}>;

export function requestOf({ tenantId, terms, blueprint, wish, nowMs }: Asked): PlacementRequest {
  const kinds = terms.cells?.kinds ?? [];
  return {
    tenantId,
    kinds: kinds.map((kind) => (kind === CellKind.BYOA ? "byoa" : "hosted")),
    region: wish?.region ?? "",
    labels: [...Object.entries(terms.cells?.labels ?? {}), ...Object.entries(wish?.labels ?? {})],
    drivers: [...new Set(blueprint?.resources.flatMap(driversFor) ?? [])],
    asks: asksOf(terms),
    nowMs,
  };
}

/** What an instance of the plan takes of its cell's named resources. */
export function asksOf({ asks }: PlanSpec): Amounts {
  return Object.fromEntries(Object.entries(asks).map(([name, amount]) => [name, Number(amount)]));
}

/** INVALID_ARGUMENT for amounts that could not be counted exactly. */
export function amountProblems(
  amounts: Readonly<Record<string, bigint>>,
  path: string,
): readonly Violation[] {
  return Object.entries(amounts)
    .filter(([, amount]) => amount > AMOUNT_MAX)
    .map(([name, amount]) => ({
      path: `${path}.${name}`,
      message: `got ${amount}; allowed: 0 to ${AMOUNT_MAX}`,
    }));
}

/** A stored wish as a message has it; undefined where there is none. */
export function wishOf(stored: unknown): Pick<Placement, "region" | "labels"> | undefined {
  const { region, labels } = (stored ?? {}) as Partial<Placement>;
  return region === undefined ? undefined : { region, labels: labels ?? {} };
}

export function storedWish(wish: Placement | undefined): JsonObject {
  return wish === undefined ? {} : { region: wish.region, labels: { ...wish.labels } };
}

/** Throws FAILED_PRECONDITION `PLACEMENT_UNFIT` if a cell that the caller named is not one that plan and wish allow. */
export function checkNamed(
  path: string,
  cell: ObjectRow,
  terms: PlanSpec,
  wish: Placement | undefined,
): void {
  const kinds = terms.cells?.kinds ?? [];
  if (kinds.length > 0 && !kinds.includes(Number(cell.fields["kind"]))) {
    const word = kinds.includes(CellKind.BYOA) ? "byoa" : "hosted";
    throw unfit(path, `cell ${cell.name} is not ${word}, as the plan asks`, "PLACEMENT_UNFIT");
  }
  const region = wish?.region ?? "";
  if (region !== "" && cell.fields["region"] !== region) {
    throw unfit(path, `cell ${cell.name} is not in region ${region}`, "PLACEMENT_UNFIT");
  }
  const labels = { ...terms.cells?.labels, ...wish?.labels };
  for (const [key, value] of Object.entries(labels)) {
    if (cell.labels[key] === value) continue;
    throw unfit(path, `cell ${cell.name} has no label ${key}=${value}`, "PLACEMENT_UNFIT");
  }
}

/** `isOfTenant`: the words are for the tenant as well. */
export function placedBy(
  decision: Exclude<Decision, { kind: "refused" }>,
  isOfTenant: boolean,
): Placed {
  const { among, cell } = decision;
  if (isOfTenant && cell.tenantId === NIL_UUID) {
    return { reason: "LEAST_LOADED", message: "least loaded of the vendor's that fit" };
  }
  if (among === 1) return { reason: "ONLY_FIT", message: "the only one that fits" };
  return { reason: "LEAST_LOADED", message: `least loaded of ${among}` };
}

/**
 * Nothing fits: FAILED_PRECONDITION `PLACEMENT_IMPOSSIBLE`, or RESOURCE_EXHAUSTED `PLACEMENT_FULL` where room is all
 * that is missing. `isStaff` decides what is told of the vendor's cells; `also` is said after the reasons.
 */
export function impossible(
  path: string,
  refusals: readonly Refusal[],
  isStaff: boolean,
  also = "",
): Fault {
  const told = isStaff ? refusals.map(violationOf) : forTenant(refusals);
  const nearest = refusals.at(-1);
  const isFull = nearest?.reason === "FULL";
  const reasons = told.map(({ path: what, message }) => `${what} ${message}`);
  const shown = reasons.slice(-REASONS_IN_MESSAGE).join("; ");
  const more = reasons.length > REASONS_IN_MESSAGE ? `${reasons.length} were considered; ` : "";
  const none = told.length === 0 ? "there is none" : `${more}${shown}`;
  const message = `${path}: nothing fits: ${none}${also === "" ? "" : `; ${also}`}`;
  const [code, reason] = isFull
    ? (["RESOURCE_EXHAUSTED", "PLACEMENT_FULL"] as const)
    : (["FAILED_PRECONDITION", "PLACEMENT_IMPOSSIBLE"] as const);
  return new Fault(code, reason, message, {
    // The nearest to fitting are kept when there are too many.
    violations: told.slice(-VIOLATIONS_TOLD_MAX),
    next: nextAfter(nearest, isStaff),
    metadata: isFull ? quotaOf(refusals, nearest, isStaff) : {},
  });
}

/** RESOURCE_EXHAUSTED `PLAN_QUOTA`. No time frees it, so none is named: only a deletion or another plan version does. */
export function quotaReached(
  path: string,
  plan: Pick<ObjectRow, "name">,
  { limit, used }: Readonly<{ limit: number; used: number }>,
  whose = "",
): Fault {
  return new Fault(
    "RESOURCE_EXHAUSTED",
    "PLAN_QUOTA",
    `${path}: plan ${plan.name} allows ${limit} instances${whose}, and ${used} are there; one that is deleted counts until it is gone`,
    {
      metadata: { what: "instances", limit: String(limit), used: String(used) },
      next: "holdfast get instances",
    },
  );
}

/** In the one line; all of them, up to VIOLATIONS_TOLD_MAX, are in the details. */
const REASONS_IN_MESSAGE = 3;
const VIOLATIONS_TOLD_MAX = 20;

/** Decides again when another creation took the room in between. `isPlaced`: the hub chose the place. */
export async function decideAgain<T>(isPlaced: boolean, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      const lost = error instanceof Fault ? TRIES_LOST[error.reason] : undefined;
      if (!isPlaced || lost === undefined) throw error;
      tries += lost;
      if (tries < PLACEMENT_TRIES_MAX) continue;
      throw new Fault(
        "ABORTED",
        "CONFLICT",
        "others took each place first; the same call may succeed now",
        { cause: error },
      );
    }
  }
}

function violationOf(refusal: Refusal): Violation {
  const { kind, name } = refusal;
  return { path: `${kind}/${name}`, message: wordsOf(refusal, true) };
}

/** Hosted cells as one line for each region and reason, in words that count and name nothing. */
function forTenant(refusals: readonly Refusal[]): readonly Violation[] {
  const lines = refusals.map((refusal): Violation => {
    if (!refusal.isHosted) return violationOf(refusal);
    const place = refusal.region === "" ? "hosted" : `hosted/${refusal.region}`;
    return { path: place, message: wordsOf(refusal, false) };
  });
  return [...new Map(lines.map((line) => [`${line.path} ${line.message}`, line])).values()];
}

function wordsOf({ reason, what, limit, used, region }: Refusal, hasNumbers: boolean): string {
  switch (reason) {
    case "OWNER":
      return "belongs to another tenant";
    case "KIND":
      return `is ${what}, which plan and tenant do not allow`;
    case "REGION":
      return region === "" ? "is in no region" : `is in region ${region}`;
    case "LABEL":
      return `has no label ${what}`;
    case "DELETING":
      return "is being deleted";
    case "NO_AGENT":
      return "has no agent yet";
    case "AWAY":
      return "has an agent that is away";
    case "DRIVER_MISSING":
      return `has no driver for ${what}`;
    case "FULL":
      return hasNumbers ? `has no room: ${used} of ${limit} ${what}` : "has no room";
  }
}

function nextAfter(nearest: Refusal | undefined, isStaff: boolean): string {
  if (nearest === undefined || (nearest.isHosted && !isStaff)) return "holdfast get cells";
  const { kind, name, reason } = nearest;
  if (reason === "NO_AGENT") return `holdfast cell token ${name}`;
  return `holdfast describe ${kind} ${name}`;
}

/** Of all that are full of the same: what there is, and what is taken. */
function quotaOf(
  refusals: readonly Refusal[],
  nearest: Refusal,
  isStaff: boolean,
): Readonly<Record<string, string>> {
  const full = refusals.filter(({ reason, what }) => reason === "FULL" && what === nearest.what);
  if (!isStaff && full.some(({ isHosted }) => isHosted)) return {};
  const sum = (of: "limit" | "used") => full.reduce((all, each) => all + (each[of] ?? 0), 0);
  return { what: nearest.what, limit: String(sum("limit")), used: String(sum("used")) };
}
