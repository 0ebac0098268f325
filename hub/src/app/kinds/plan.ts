/** Plans: tiers of a product. Each change of a spec is a new version; the versions before it stay as they are. */
import { isDeepStrictEqual } from "node:util";
import { create, fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { CellKind } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import {
  type Plan,
  PlanSchema,
  type PlanSpec,
  PlanSpecSchema,
  TenancyModel,
} from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { invalid } from "@holdfast/shared/fault.ts";
import { PLANS, PRODUCTS } from "../../store/object-tables.ts";
import { find, type ObjectRow } from "../../store/objects.ts";
import * as plans from "../../store/plans.ts";
import type { Tx } from "../../store/tx.ts";
import { metadataOf } from "../metadata.ts";
import { amountProblems } from "../placing.ts";
import { resolve } from "../reference.ts";
import { refuse } from "../refusal.ts";
import type { Kind } from "../standard.ts";

export const PLAN_SEATS_DEFAULT = 100;

export const PLAN: Kind<Plan> = {
  kind: "plan",
  schema: PlanSchema,
  table: PLANS,
  owner: "vendor",
  async view(tx, rows) {
    const wanted = rows.map((row) => ({ planId: row.id, version: newestOf(row) }));
    const versions = await plans.listVersions(tx, wanted);
    const specs = new Map(versions.map(({ planId, spec }) => [planId, spec]));
    return rows.map((row) =>
      create(PlanSchema, {
        metadata: metadataOf("plan", row),
        spec: planSpecOf(specs.get(row.id)),
        status: { version: newestOf(row) },
      }),
    );
  },
  async own({ tx }, message, { row }) {
    const problems = amountProblems(message.spec?.asks ?? {}, "plan.spec.asks");
    if (problems.length > 0) throw invalid("AMOUNT_RANGE", problems);
    checkCells(message.spec);
    const path = "plan.spec.product";
    const text = message.spec?.product ?? "";
    const product = await resolve(tx, { kind: "product", table: PRODUCTS, text, path });
    if (row === undefined) return { product_id: product.id, newest_version: 1 };
    if (row.fields["product_id"] !== product.id) {
      throw refuse(path, "never changes; make another plan", "IMMUTABLE");
    }
    const newest = newestOf(row);
    const isSame = await isNewest(tx, row, message.spec, product.name);
    return { product_id: product.id, newest_version: isSame ? newest : newest + 1 };
  },
  async written({ tx }, row, { spec }) {
    const version = newestOf(row);
    if ((await plans.getVersion(tx, row.id, version)) !== undefined || spec === undefined) return;
    const [product] = await find(tx, PRODUCTS, { id: String(row.fields["product_id"]) }, false);
    await plans.insertVersion(tx, {
      planId: row.id,
      version,
      tenancyModel: spec.tenancyModel,
      seatsMax: spec.seatsMax === 0 ? PLAN_SEATS_DEFAULT : spec.seatsMax,
      spec: storedSpec(spec, product?.name ?? spec.product),
    });
  },
};

function checkCells(spec: PlanSpec | undefined): void {
  const kinds = spec?.cells?.kinds ?? [];
  const path = "plan.spec.cells.kinds";
  if (kinds.some((kind) => !KINDS.includes(kind))) {
    throw refuse(path, `got ${kinds.join(", ")}; allowed: byoa, hosted`, "KIND_UNKNOWN");
  }
  if (spec?.tenancyModel !== TenancyModel.POOLED) {
    if (spec?.pool === undefined) return;
    throw refuse("plan.spec.pool", "a dedicated plan has none; leave it out", "POOL_REFUSED");
  }
  if (!kinds.includes(CellKind.BYOA)) return;
  throw refuse(path, "pooled instances are the vendor's; allowed: hosted", "KIND_REFUSED");
}

const KINDS = [CellKind.BYOA, CellKind.HOSTED];

/** Of a stored version; an empty one if the caller may not see it. */
export function planSpecOf(stored: Readonly<Record<string, unknown>> | undefined): PlanSpec {
  return stored === undefined
    ? create(PlanSpecSchema)
    : fromJson(PlanSpecSchema, stored as JsonObject, { ignoreUnknownFields: true });
}

function newestOf(row: ObjectRow): number {
  return Number(row.fields["newest_version"]);
}

async function isNewest(
  tx: Tx,
  row: ObjectRow,
  spec: PlanSpec | undefined,
  product: string,
): Promise<boolean> {
  const newest = await plans.getVersion(tx, row.id, newestOf(row));
  if (newest === undefined || spec === undefined) return false;
  return isDeepStrictEqual(newest.spec, storedSpec(spec, product));
}

/** With the product's name, however the caller named it. */
function storedSpec(spec: PlanSpec, product: string): JsonObject {
  return { ...(toJson(PlanSpecSchema, spec) as JsonObject), product };
}
