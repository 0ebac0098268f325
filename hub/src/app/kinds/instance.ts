/**
 * Instances: one running copy of a product in a cell. Each change of the spec is a new generation, signed and
 * stored in the same transaction. Deleting one signs a tombstone and waits for the agent.
 */
import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "@bufbuild/protobuf";
import {
  type Instance,
  InstanceSchema,
  type InstanceSpec,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { DriftPolicy, RunState } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { resolveParameters } from "@holdfast/shared/blueprint/parameters.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import * as holdings from "../../store/holdings.ts";
import * as needs from "../../store/instance-needs.ts";
import { CELLS, INSTANCES, SUBSCRIPTIONS } from "../../store/object-tables.ts";
import { type Fields, find, type ObjectRow } from "../../store/objects.ts";
import * as presence from "../../store/presence.ts";
import * as seats from "../../store/seats.ts";
import { newId } from "../deps.ts";
import { assign, assignTombstone, entitle, type Place } from "../offer.ts";
import { asksOf } from "../placing.ts";
import { resolve } from "../reference.ts";
import { refuse, unfit } from "../refusal.ts";
import { RESERVED_SEAT, seatWish } from "../seating.ts";
import { secretReferences } from "../secret-references.ts";
import type { Kind, Target, Work } from "../standard.ts";
import { jsonObject } from "../views.ts";
import { type Catalogue, type PlanTerms, termsOf } from "./catalogue.ts";
import { cellFor, checkQuota } from "./instance-cell.ts";
import { type Needs, needsFor, refuseNeeded } from "./instance-needs.ts";
import { instanceViews } from "./instance-view.ts";

/** What an agent that may still run the instance has to confirm, in this order. */
export const FINALIZERS = ["workloads", "usage"] as const;

/** For reading and deleting, which need nothing of the catalogue. */
export const INSTANCE: Kind<Instance> = {
  kind: "instance",
  schema: InstanceSchema,
  table: INSTANCES,
  owner: "either",
  view: instanceViews,
  own: () => Promise.reject(new RangeError("an instance is written with its catalogue")),
  ending,
};

/** For writing: made from what the spec names. */
export function instanceFrom(catalogue: Catalogue): Kind<Instance> {
  // Compiling the schema costs milliseconds, and checking and signing need the same values.
  let parameters: JsonObject = {};
  return {
    ...INSTANCE,
    async own(work, { spec }, target) {
      const found = await own(work, catalogue, spec as InstanceSpec, target);
      parameters = found.parameters;
      return found.fields;
    },
    async written(work, row, _message, isSpecChange) {
      if (!isSpecChange) return;
      const terms = termsOf(catalogue, Number(row.fields["plan_version"]));
      const place = placeOf(work, row);
      const isNew = BigInt(row.fields["assigned_number"] as bigint) === 0n;
      if (isNew) await seat(work, catalogue, terms, row, place);
      await assign(
        work.deps,
        work.tx,
        place,
        { ...(await wishOf(work, catalogue, row)), parameters },
        catalogue.floor?.envelope,
      );
    },
  };
}

/** One whose row is back: judged as for a creation, with the seats that it has, and signed as the next generation. */
export async function restoreInstance(
  work: Work,
  catalogue: Catalogue,
  spec: InstanceSpec,
  row: ObjectRow,
): Promise<void> {
  const { deps, tx } = work;
  const { fields, parameters } = await own(work, catalogue, spec, { ...row, row });
  const terms = termsOf(catalogue, Number(fields["plan_version"]));
  const subscription = await subscriptionOf(work, catalogue, spec, row.tenantId);
  // It counts already, so that one more than allowed is one too many.
  await checkQuota(work, catalogue, terms.spec, subscription, 1);
  const place = placeOf(work, row);
  const present = await seats.listOfInstance(tx, row.id);
  const allotments = catalogue.isPooled ? [] : terms.spec.allotments;
  const wishes = present.map((each) => seatWish(each, each.reserved ? [] : allotments));
  await entitle(deps, tx, place, wishes);
  const wish = { ...(await wishOf(work, catalogue, row)), parameters };
  await assign(deps, tx, place, wish, catalogue.floor?.envelope);
}

function undeleteDaysOf({ undeleteDays }: Work["deps"], { fields }: ObjectRow): number {
  return Number(fields["undelete_days"]) || undeleteDays;
}

async function own(
  work: Work,
  catalogue: Catalogue,
  spec: InstanceSpec,
  target: Target,
): Promise<Readonly<{ fields: Fields; parameters: JsonObject }>> {
  const { tenantId, row } = target;
  const { product, release, plan } = catalogue;
  if (catalogue.isPooled !== (tenantId === NIL_UUID)) {
    const rule = catalogue.isPooled
      ? `plan ${plan.name} is pooled: its instances belong to the vendor; leave it empty`
      : `plan ${plan.name} is dedicated: its instances belong to a tenant; name it`;
    throw refuse("instance.metadata.tenant", rule, "OWNER_REFUSED");
  }
  const subscription = await subscriptionOf(work, catalogue, spec, tenantId);
  const version = versionOf(catalogue, subscription, row);
  const terms = termsOf(catalogue, version);
  const place = await cellFor(work, catalogue, { spec, terms: terms.spec, target });
  if (row === undefined) await checkQuota(work, catalogue, terms.spec, subscription);
  const given = jsonObject(spec.parameters);
  const parameters = resolveParameters(catalogue.blueprint, terms.spec, given);
  checkLocalSecrets(catalogue, spec);
  const fields = {
    ...place,
    product_id: product.id,
    release_id: release.id,
    plan_id: plan.id,
    plan_version: version,
    subscription_id: subscription?.id ?? null,
    environment_id: catalogue.environmentId,
    parameters: given,
    run_state: spec.runState === RunState.UNSPECIFIED ? RunState.RUNNING : spec.runState,
    local_secrets: spec.localSecrets,
    drift_policy:
      spec.driftPolicy === DriftPolicy.UNSPECIFIED ? DriftPolicy.REPORT : spec.driftPolicy,
    asks: asksOf(terms.spec),
    undelete_days: terms.spec.undeleteDays,
    needs: await needsFor(work, catalogue, spec, target, String(place["cell_id"])),
  };
  if (row !== undefined) checkImmutable(row, fields);
  return { fields, parameters };
}

const IMMUTABLE: Readonly<Record<string, string>> = {
  cell_id: "cell",
  product_id: "product",
  subscription_id: "subscription",
};

function checkImmutable(row: ObjectRow, fields: Fields): void {
  for (const [column, field] of Object.entries(IMMUTABLE)) {
    if (isDeepStrictEqual(row.fields[column] ?? null, fields[column])) continue;
    throw refuse(`instance.spec.${field}`, "never changes; make another instance", "IMMUTABLE");
  }
}

async function subscriptionOf(
  { tx }: Work,
  { plan, isPooled }: Catalogue,
  { subscription: text }: InstanceSpec,
  tenantId: string,
): Promise<ObjectRow | undefined> {
  const path = "instance.spec.subscription";
  if (isPooled) {
    if (text === "") return undefined;
    throw refuse(path, "a pooled instance belongs to none; leave it empty", "SUBSCRIPTION_REFUSED");
  }
  if (text === "")
    throw refuse(path, "a dedicated instance belongs to one; name it", "SUBSCRIPTION_MISSING");
  const row = await resolve(tx, {
    kind: "subscription",
    table: SUBSCRIPTIONS,
    text,
    path,
    tenantId,
  });
  if (row.fields["plan_id"] !== plan.id) {
    throw unfit(
      path,
      `subscription ${row.name} is to another plan than ${plan.name}`,
      "PLAN_UNFIT",
    );
  }
  if (row.deletedAt === undefined) return row;
  throw unfit(path, `subscription ${row.name} is being deleted`, "DELETED");
}

/** The subscription's version; a pooled instance keeps its own and starts with the newest. */
function versionOf(
  { plan }: Catalogue,
  subscription: ObjectRow | undefined,
  row: ObjectRow | undefined,
): number {
  if (subscription !== undefined) return Number(subscription.fields["plan_version"]);
  const kept = row?.fields["plan_id"] === plan.id ? row.fields["plan_version"] : undefined;
  return Number(kept ?? plan.fields["newest_version"]);
}

function checkLocalSecrets(
  { blueprint, release }: Catalogue,
  { localSecrets }: InstanceSpec,
): void {
  const known = new Set(blueprint.secrets.map(({ name }) => name));
  const stranger = Object.keys(localSecrets).find((name) => !known.has(name));
  if (stranger === undefined) return;
  const allowed = known.size === 0 ? "none" : [...known].join(", ");
  throw refuse(
    `instance.spec.local_secrets.${stranger}`,
    `release ${release.name} declares no such secret; it declares ${allowed}`,
    "SECRET_UNKNOWN",
  );
}

function placeOf({ tx }: Work, row: ObjectRow): Place {
  const { vendorId } = tx.context;
  return { vendorId, cellId: String(row.fields["cell_id"]), instanceId: row.id };
}

/** The one seat of a dedicated instance, or the vendor's reserved one of a pooled instance. */
async function seat(
  { tx, deps }: Work,
  { isPooled }: Catalogue,
  terms: PlanTerms,
  row: ObjectRow,
  place: Place,
): Promise<void> {
  const made = {
    id: newId(deps.clock),
    tenantId: row.tenantId,
    name: isPooled ? RESERVED_SEAT : row.tenantName,
    cellId: place.cellId,
    instanceId: row.id,
    instanceTenantId: row.tenantId,
    subscriptionId: isPooled ? null : String(row.fields["subscription_id"]),
    reserved: isPooled,
  };
  await seats.insert(tx, made);
  await entitle(deps, tx, place, [seatWish(made, isPooled ? [] : terms.spec.allotments)]);
}

async function wishOf(work: Work, catalogue: Catalogue, row: ObjectRow) {
  const { product, release } = catalogue;
  const { fields } = row;
  const cell = await cellRow(work, catalogue, String(fields["cell_id"]));
  const localSecrets = fields["local_secrets"] as Readonly<Record<string, string>>;
  return {
    instanceName: row.name,
    product: product.name,
    releaseDigest: String(release.fields["digest"]),
    releaseVersion: String(release.fields["version"]),
    releaseNumber: BigInt(release.fields["number"] as bigint),
    facts: factsOf(cell),
    runState: Number(fields["run_state"]) as RunState,
    driftPolicy: Number(fields["drift_policy"]) as DriftPolicy,
    secrets: [...(await secretReferences(work.tx, catalogue.blueprint, row.id, localSecrets))],
    instances: await instancesOf(work, fields["needs"] as Needs),
  };
}

async function instancesOf({ tx }: Work, needed: Needs) {
  const entries = Object.entries(needed);
  const names = await needs.names(
    tx,
    entries.map(([, id]) => id),
  );
  return entries.map(([name, id]) => {
    return { name, instanceId: idOf("instance", id), instanceName: names.get(id) ?? "" };
  });
}

async function cellRow({ tx }: Work, { hostedCell }: Catalogue, id: string): Promise<ObjectRow> {
  if (hostedCell?.id === id) return hostedCell;
  const [row] = await find(tx, CELLS, { id }, false);
  if (row === undefined) throw new Fault("ABORTED", "CONFLICT", "the cell is gone");
  return row;
}

/** What expressions may name as facts: the cell's own, and those that every cell has. */
function factsOf({ name, fields }: ObjectRow): JsonObject {
  const { region, account, runtime } = fields as Readonly<Record<string, string>>;
  const known = Object.entries({ cell: name, region, account, runtime });
  return {
    ...Object.fromEntries(known.filter(([, value]) => value !== "" && value !== undefined)),
    ...jsonObject(fields["facts"]),
  } as JsonObject;
}

async function ending(work: Work, row: ObjectRow): Promise<readonly string[]> {
  const { tx, deps } = work;
  const [sitting] = row.tenantName === "" ? await holdings.seatsOf(tx, row.id) : [];
  if (sitting !== undefined) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "STILL_USED",
      `instance ${row.name}: ${sitting} still has a seat in it; delete the subscriptions first`,
      { next: "holdfast get subscriptions" },
    );
  }
  await refuseNeeded(work, row);
  const place = placeOf(work, row);
  await assignTombstone(deps, tx, place, undeleteDaysOf(deps, row));
  const { tenantLo, tenantHi } = tx.context;
  const seesAgents = tenantLo !== tenantHi || row.fields["cell_tenant_id"] !== NIL_UUID;
  const present = await presence.ofCells(tx, [place.cellId]);
  // Where no agent ever joined, nobody can hold the instance and nobody would ever confirm.
  return seesAgents && !present.has(place.cellId) ? [] : FINALIZERS;
}
