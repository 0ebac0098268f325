/**
 * What an instance is made from: product, release, plan version, environment, a hosted cell, the floor. Read
 * in the vendor's own range before the change, since a tenant's range does not show them; all of it but the
 * floor is immutable, so nothing can change in between.
 */
import { fromBinary } from "@bufbuild/protobuf";
import type { InstanceSpec } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { type PlanSpec, TenancyModel } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { type Blueprint, BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { isId, NIL_UUID } from "@holdfast/shared/ids.ts";
import * as floors from "../../store/floors.ts";
import { CELLS, ENVIRONMENTS, PLANS, PRODUCTS, RELEASES } from "../../store/object-tables.ts";
import type { ObjectRow } from "../../store/objects.ts";
import * as plans from "../../store/plans.ts";
import { readWithContext, type Tx } from "../../store/tx.ts";
import type { Call } from "../caller.ts";
import { type AppDeps, catalogueContextOf } from "../deps.ts";
import type { Placed } from "../placing.ts";
import { lookUp, resolve } from "../reference.ts";
import { unfit } from "../refusal.ts";
import { planSpecOf } from "./plan.ts";

/** Subscriptions to older versions of a plan have to be moved to a newer one before their instances change. */
export const PLAN_VERSIONS_MAX = 200;

export type PlanTerms = Readonly<{ version: number; spec: PlanSpec }>;

export type Catalogue = Readonly<{
  product: ObjectRow;
  release: ObjectRow;
  blueprint: Blueprint;
  plan: ObjectRow;
  isPooled: boolean;
  /** By version, the newest PLAN_VERSIONS_MAX of them: which one counts only the caller's own rows say. */
  terms: ReadonlyMap<number, PlanTerms>;
  environmentId: string | null;
  /** Undefined if the spec names no hosted cell and none was picked. */
  hostedCell: ObjectRow | undefined;
  /** What the hub picked for a spec that names no cell. */
  picked?: Picked;
  floor: floors.FloorRow | undefined;
}>;

export type Picked = Readonly<{ cellId: string; placed: Placed }>;

/** As `catalogueIn`, in a transaction of its own. `more` is read in the same one. */
export function readCatalogue<T = Catalogue>(
  deps: AppDeps,
  call: Call,
  spec: InstanceSpec,
  more: (tx: Tx, catalogue: Catalogue) => Promise<T> | T = (_, catalogue) => catalogue as T,
): Promise<T> {
  return readWithContext(deps.database, catalogueContextOf(call), async (tx) =>
    more(tx, await catalogueIn(tx, spec)),
  );
}

/** Throws NOT_FOUND for what does not exist, FAILED_PRECONDITION for what does not fit together. */
export async function catalogueIn(tx: Tx, spec: InstanceSpec): Promise<Catalogue> {
  const product = await resolve(tx, {
    kind: "product",
    table: PRODUCTS,
    text: spec.product,
    path: "instance.spec.product",
  });
  const release = await releaseOf(tx, product, spec.release);
  const plan = await planOf(tx, product, spec.plan);
  const floor = await floors.get(tx, product.id);
  checkFloor(release, floor);
  const newest = Number(plan.fields["newest_version"]);
  const oldest = Math.max(1, newest - PLAN_VERSIONS_MAX + 1);
  const versions = await plans.listVersions(
    tx,
    Array.from({ length: newest - oldest + 1 }, (_, at) => ({
      planId: plan.id,
      version: oldest + at,
    })),
  );
  return {
    product,
    release,
    blueprint: blueprintOf(release),
    plan,
    isPooled: versions.some(({ tenancyModel }) => tenancyModel === TenancyModel.POOLED),
    terms: new Map(
      versions.map((each) => [
        each.version,
        { version: each.version, spec: planSpecOf(each.spec) },
      ]),
    ),
    environmentId: await environmentOf(tx, spec.environment),
    hostedCell: spec.cell === "" ? undefined : await hostedCellOf(tx, spec.cell),
    floor,
  };
}

/** Of a version of the plan. Throws FAILED_PRECONDITION `PLAN_VERSION_UNKNOWN`. */
export function termsOf({ plan, terms }: Catalogue, version: number): PlanTerms {
  const found = terms.get(version);
  if (found !== undefined) return found;
  throw unfit(
    "instance.spec.plan",
    `version ${version} of plan ${plan.name} is too old, or came just now; move the subscription or try again`,
    "PLAN_VERSION_UNKNOWN",
  );
}

async function releaseOf(tx: Tx, product: ObjectRow, version: string): Promise<ObjectRow> {
  const path = "instance.spec.release";
  const text = isId(version) ? version : `${product.name}-${version}`;
  const release = await resolve(tx, { kind: "release", table: RELEASES, text, path });
  if (release.fields["product_id"] === product.id) return release;
  throw unfit(path, `release ${release.name} is none of product ${product.name}`, "RELEASE_UNFIT");
}

async function planOf(tx: Tx, product: ObjectRow, text: string): Promise<ObjectRow> {
  const path = "instance.spec.plan";
  const plan = await resolve(tx, { kind: "plan", table: PLANS, text, path });
  if (plan.fields["product_id"] === product.id) return plan;
  throw unfit(path, `plan ${plan.name} is none of product ${product.name}`, "PLAN_UNFIT");
}

function checkFloor(release: ObjectRow, floor: floors.FloorRow | undefined): void {
  const number = BigInt(release.fields["number"] as bigint);
  if (floor === undefined || number >= floor.minReleaseNumber) return;
  const rule = `release ${release.name} has number ${number}; the floor is ${floor.minReleaseNumber}`;
  throw unfit("instance.spec.release", rule, "RELEASE_BELOW_FLOOR", "holdfast get releases");
}

async function environmentOf(tx: Tx, text: string): Promise<string | null> {
  if (text === "") return null;
  const path = "instance.spec.environment";
  const row = await resolve(tx, { kind: "environment", table: ENVIRONMENTS, text, path });
  return row.id;
}

function hostedCellOf(tx: Tx, text: string): Promise<ObjectRow | undefined> {
  const path = "instance.spec.cell";
  return lookUp(tx, { kind: "cell", table: CELLS, text, path, tenantId: NIL_UUID });
}

/** The signature was checked when the release was published; the bytes cannot change since. */
function blueprintOf(release: ObjectRow): Blueprint {
  const envelope = fromBinary(EnvelopeSchema, release.fields["envelope"] as Uint8Array);
  return fromBinary(BlueprintSchema, envelope.payload);
}
