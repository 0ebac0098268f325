/**
 * The pooled instance that a subscription is seated in: the one that it names, the one with the most room, or a new
 * one that the plan lets be opened. All of it in the subscription's transaction, which sees all of the vendor's rows.
 */
import { isDeepStrictEqual } from "node:util";
import { create, type JsonObject } from "@bufbuild/protobuf";
import {
  InstanceSchema,
  type InstanceSpec,
  InstanceSpecSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { type PlanSpec, TenancyModel } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import type { SubscriptionSpec } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, NIL_UUID, uuidOf } from "@holdfast/shared/ids.ts";
import {
  type CellFacts,
  type Decision,
  isServed,
  type PlacementRequest,
  type PoolFacts,
  placeSeat,
} from "../../domain/placement.ts";
import { CELLS, INSTANCES, PRODUCTS } from "../../store/object-tables.ts";
import { type Fields, find, type ObjectRow } from "../../store/objects.ts";
import * as placement from "../../store/placement.ts";
import * as plans from "../../store/plans.ts";
import { hostedCells } from "../pick-cell.ts";
import {
  checkNamed,
  impossible,
  NAMED,
  placedBy,
  quotaReached,
  requestOf,
  storedWish,
} from "../placing.ts";
import { resolve } from "../reference.ts";
import { refuse, unfit } from "../refusal.ts";
import { createObject, type Work } from "../standard.ts";
import { type Catalogue, catalogueIn } from "./catalogue.ts";
import { instanceFrom } from "./instance.ts";
import { planSpecOf } from "./plan.ts";

const PATH = "subscription.spec.instance";
/** Room for a number behind the plan's name. */
const POOL_STEM_CHARS_MAX = 54;

type Wanted = Readonly<{
  plan: ObjectRow;
  version: plans.PlanVersion;
  spec: SubscriptionSpec | undefined;
  /** Of a subscription that is there already. */
  row: ObjectRow | undefined;
}>;

/** The columns of the subscription that say where its seat is to be; with nulls for a dedicated plan. */
export async function poolFor(work: Work, wanted: Wanted): Promise<Fields> {
  const { plan, version, spec, row } = wanted;
  const text = spec?.instance ?? "";
  if (version.tenancyModel !== TenancyModel.POOLED) {
    const rule = `plan ${plan.name} is dedicated; leave it empty`;
    if (text !== "") throw refuse(PATH, rule, "INSTANCE_REFUSED");
    if (spec?.placement !== undefined) {
      throw refuse("subscription.spec.placement", rule, "PLACEMENT_REFUSED");
    }
    if (row !== undefined && row.fields["instance_id"] !== null) throw immutable(PATH);
    return { instance_id: null, placement: {}, placed: {} };
  }
  if (row !== undefined) return keptPool(work, wanted, row);
  const wish = storedWish(spec?.placement);
  if (text === "") return { ...(await placedPool(work, wanted)), placement: wish };
  const instance = await namedPool(work, plan, text);
  const [cell] = await find(work.tx, CELLS, { id: String(instance.fields["cell_id"]) }, false);
  if (cell !== undefined) checkNamed(PATH, cell, planSpecOf(version.spec), spec?.placement);
  return { instance_id: instance.id, placement: wish, placed: NAMED };
}

async function keptPool(
  work: Work,
  { plan, spec }: Wanted,
  { fields }: ObjectRow,
): Promise<Fields> {
  const { instance_id, placement: stored, placed } = fields;
  const text = spec?.instance ?? "";
  const isSame =
    text === ""
      ? fields["plan_id"] === plan.id && instance_id !== null
      : (await namedPool(work, plan, text)).id === instance_id;
  if (!isSame) throw immutable(PATH);
  if (spec?.placement !== undefined && !isDeepStrictEqual(stored, storedWish(spec.placement))) {
    throw immutable("subscription.spec.placement");
  }
  return { instance_id, placement: stored, placed };
}

async function namedPool({ tx }: Work, plan: ObjectRow, text: string): Promise<ObjectRow> {
  const row = await resolve(tx, { kind: "instance", table: INSTANCES, text, path: PATH });
  if (row.fields["plan_id"] === plan.id && row.tenantName === "") return row;
  const rule = `instance ${row.name} is no pooled instance of plan ${plan.name}`;
  throw unfit(PATH, rule, "INSTANCE_REFUSED");
}

/** Under the plan's lock, so that of many subscriptions at once only the first opens another instance. */
async function placedPool(work: Work, { plan, spec }: Wanted): Promise<Fields> {
  const { tx, deps } = work;
  await placement.lockPlan(tx, plan.id);
  // A new one starts with the newest version, whatever the subscription's is.
  const newest = await plans.getVersion(tx, plan.id, Number(plan.fields["newest_version"]));
  const terms = planSpecOf(newest?.spec);
  const asked = { tenantId: NIL_UUID, terms, wish: spec?.placement, nowMs: deps.clock.now() };
  const pools = await placement.pools(tx, plan.id);
  const seated = requestOf({ ...asked, blueprint: undefined });
  const cells = await hostedCells(tx, seated);
  const first = placeSeat(seated, cells, pools, false);
  if (first.kind === "seat" && isServed(seated, first.cell)) return seatIn(first);
  const opening = await openingOf(work, plan, terms);
  if (opening.catalogue === undefined) return decided(plan, first, opening);
  const { blueprint } = opening.catalogue;
  const request = requestOf({ ...asked, blueprint });
  const decision = await decideWithDrivers(work, request, pools);
  if (decision.kind !== "open") return decided(plan, decision, opening);
  return open(work, { plan, opening, catalogue: opening.catalogue }, decision.cell, pools.length);
}

async function decideWithDrivers(
  { tx }: Work,
  request: PlacementRequest,
  pools: readonly PoolFacts[],
): Promise<Decision> {
  return placeSeat(request, await hostedCells(tx, request), pools, true);
}

/** `catalogue` is there if the plan lets another one be opened, else `why` says why not. */
type Opening = Readonly<{
  spec: InstanceSpec;
  catalogue?: Catalogue;
  why: string;
  quota?: Readonly<{ limit: number; used: number }>;
}>;

function seatIn(decision: Extract<Decision, { kind: "seat" }>): Fields {
  return { instance_id: decision.pool.id, placed: placedBy(decision, false) };
}

function decided(plan: ObjectRow, decision: Decision, { why, quota }: Opening): Fields {
  if (decision.kind === "seat") return seatIn(decision);
  if (quota !== undefined) throw quotaReached("subscription.spec.plan", plan, quota);
  const refusals = decision.kind === "refused" ? decision.refusals : [];
  throw impossible("subscription.spec.placement", refusals, true, why);
}

async function openingOf(work: Work, plan: ObjectRow, terms: PlanSpec): Promise<Opening> {
  const { tx } = work;
  const nothing = create(InstanceSpecSchema);
  const no = (why: string): Opening => ({ spec: nothing, why });
  if (terms.pool === undefined) {
    return no(`plan ${plan.name} opens no instance by itself: it has no spec.pool`);
  }
  const used = await placement.countOfPlan(tx, plan.id);
  if (terms.instancesMax > 0 && used >= terms.instancesMax) {
    return { ...no(""), quota: { limit: terms.instancesMax, used } };
  }
  const last = await placement.newestPool(tx, plan.id);
  const { release, environment } = terms.pool;
  if (release === "" && last === undefined) {
    return no(`plan ${plan.name} names no release in spec.pool, and no instance shows one`);
  }
  const [product] = await find(tx, PRODUCTS, { id: String(plan.fields["product_id"]) }, false);
  const kept = last?.environmentId ? idOf("environment", last.environmentId) : "";
  const spec = create(InstanceSpecSchema, {
    product: product?.name ?? "",
    release: release || (last === undefined ? "" : idOf("release", last.releaseId)),
    plan: plan.name,
    environment: environment || kept,
    parameters: (last?.parameters ?? {}) as JsonObject,
    localSecrets: { ...last?.localSecrets },
  });
  return { spec, catalogue: await catalogueIn(tx, spec), why: "" };
}

async function open(
  work: Work,
  {
    plan,
    opening,
    catalogue,
  }: Readonly<{ plan: ObjectRow; opening: Opening; catalogue: Catalogue }>,
  { id }: CellFacts,
  full: number,
): Promise<Fields> {
  const { tx } = work;
  const [hostedCell] = await find(tx, CELLS, { id }, false);
  if (hostedCell === undefined) {
    throw new Fault("ABORTED", "CONFLICT", "the cell went away in between");
  }
  const name = await placement.nextPoolName(tx, plan.name.slice(0, POOL_STEM_CHARS_MAX));
  const why = full === 0 ? "the plan had none" : `the plan's ${full} had no room`;
  const placed = { reason: "LEAST_LOADED", message: `opened for a subscription: ${why}` } as const;
  const made = await createObject(
    work,
    instanceFrom({ ...catalogue, hostedCell, picked: { cellId: id, placed } }),
    create(InstanceSchema, { metadata: { name }, spec: opening.spec }),
  );
  return {
    instance_id: uuidOf("instance", made.metadata?.id ?? ""),
    placed: { ...placed, message: `in a new instance: ${why}` },
  };
}

function immutable(path: string): Fault {
  return refuse(path, "never changes; make another one", "IMMUTABLE");
}
