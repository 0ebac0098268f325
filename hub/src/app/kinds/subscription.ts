/**
 * Subscriptions: a tenant on a plan version. One to a pooled plan gives the tenant a seat in the plan's
 * instance; one to a dedicated plan is what the tenant's own instances belong to.
 */
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Subscription,
  SubscriptionSchema,
  type SubscriptionSpec,
} from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import * as holdings from "../../store/holdings.ts";
import * as instances from "../../store/instances.ts";
import { PLANS, SUBSCRIPTIONS, TENANTS } from "../../store/object-tables.ts";
import { namesOf, type ObjectRow } from "../../store/objects.ts";
import * as plans from "../../store/plans.ts";
import * as seats from "../../store/seats.ts";
import type { Tx } from "../../store/tx.ts";
import * as visible from "../../store/visible.ts";
import { newId } from "../deps.ts";
import { metadataOf } from "../metadata.ts";
import { wishOf } from "../placing.ts";
import { resolve } from "../reference.ts";
import { refuse, unfit } from "../refusal.ts";
import { freeSeatName, resign } from "../seating.ts";
import type { Kind, Target, Work } from "../standard.ts";
import { jsonObject, placementView } from "../views.ts";
import { poolFor } from "./pool.ts";
import { seatConditions } from "./seat.ts";

export const SUBSCRIPTION: Kind<Subscription> = {
  kind: "subscription",
  schema: SubscriptionSchema,
  table: SUBSCRIPTIONS,
  owner: "tenant",
  view,
  own,
  async written(work, row, _message, isSpecChange) {
    if (isSpecChange) await seat(work, row);
  },
  async ending(work, row) {
    const { tx, deps } = work;
    const [held] = await holdings.ofSubscription(tx, row.id);
    if (held !== undefined) {
      throw new Fault(
        "FAILED_PRECONDITION",
        "STILL_USED",
        `subscription ${row.name}: delete first its instance ${held.name}`,
        { next: `holdfast delete instance ${held.name} --tenant ${row.tenantName}` },
      );
    }
    const present = await seats.ofSubscription(tx, row.id);
    if (present === undefined) return [];
    const { vendorId } = tx.context;
    await instances.lock(tx, present.instanceId);
    await seats.retire(tx, present.id);
    await resign(deps, tx, { vendorId, cellId: present.cellId, instanceId: present.instanceId });
    return [];
  },
};

async function own(work: Work, { spec }: Subscription, { row }: Target) {
  const { tx, deps } = work;
  const plan = await resolve(tx, {
    kind: "plan",
    table: PLANS,
    text: spec?.plan ?? "",
    path: "subscription.spec.plan",
  });
  const version = await planVersion(tx, plan, spec, row);
  const starts = row?.fields["starts_at"] ?? new Date(deps.clock.now());
  const startsAt = spec?.startTime === undefined ? starts : timestampDate(spec.startTime);
  const endsAt = spec?.endTime === undefined ? null : timestampDate(spec.endTime);
  if (endsAt !== null && endsAt <= (startsAt as Date)) {
    throw refuse("subscription.spec.end_time", "must be after start_time", "RANGE_EMPTY");
  }
  const billTo = spec?.billTo ?? "";
  const payer =
    billTo === ""
      ? undefined
      : await resolve(tx, {
          kind: "tenant",
          table: TENANTS,
          text: billTo,
          path: "subscription.spec.bill_to",
        });
  return {
    ...(await poolFor(work, { plan, version, spec, row })),
    plan_id: plan.id,
    plan_version: version.version,
    starts_at: startsAt,
    ends_at: endsAt,
    overrides: spec?.overrides ?? {},
    bill_to_id: payer?.id ?? null,
  };
}

/** The named version; with 0 the one that it has, or the newest for a new one. */
async function planVersion(
  tx: Tx,
  plan: ObjectRow,
  spec: SubscriptionSpec | undefined,
  row: ObjectRow | undefined,
): Promise<plans.PlanVersion> {
  const isSamePlan = row?.fields["plan_id"] === plan.id;
  const kept = isSamePlan ? row?.fields["plan_version"] : plan.fields["newest_version"];
  const asked = spec?.planVersion ?? 0;
  const wanted = asked === 0 ? Number(kept) : asked;
  const version = await plans.getVersion(tx, plan.id, wanted);
  if (version !== undefined) return version;
  const newest = plan.fields["newest_version"];
  throw unfit(
    "subscription.spec.plan_version",
    `plan ${plan.name} has no version ${wanted}; allowed: 1 to ${newest}`,
    "PLAN_VERSION_UNKNOWN",
  );
}

/** Makes the seat of a pooled subscription, or signs it again with what the plan allots now. */
async function seat({ tx, deps }: Work, row: ObjectRow): Promise<void> {
  const instanceId = row.fields["instance_id"];
  if (typeof instanceId !== "string") return;
  const instance = await instances.lock(tx, instanceId);
  if (instance === undefined || instance.deletedAt !== null) {
    throw unfit("subscription.spec.instance", "it is being deleted", "DELETED");
  }
  if ((await seats.ofSubscription(tx, row.id)) === undefined) {
    const version = await plans.getVersion(tx, instance.planId, instance.planVersion);
    const max = version?.seatsMax ?? 0;
    if (instance.seats >= max) {
      throw new Fault(
        "RESOURCE_EXHAUSTED",
        "SEATS_FULL",
        `instance ${instance.name}: all ${max} seats are taken; leave the instance out to have one picked`,
        { metadata: { limit: String(max), used: String(instance.seats) } },
      );
    }
    await seats.insert(tx, {
      id: newId(deps.clock),
      tenantId: row.tenantId,
      name: await freeSeatName(tx, instanceId, row.tenantName, row.name),
      cellId: instance.cellId,
      instanceId,
      instanceTenantId: instance.tenantId,
      subscriptionId: row.id,
      reserved: false,
    });
  }
  const { vendorId } = tx.context;
  await resign(deps, tx, { vendorId, cellId: instance.cellId, instanceId });
}

async function view(tx: Tx, rows: readonly ObjectRow[]): Promise<readonly Subscription[]> {
  const idsOf = (column: string) =>
    rows.flatMap(({ fields }) => (typeof fields[column] === "string" ? [fields[column]] : []));
  const planNames = await visible.names(tx, "plan", idsOf("plan_id"));
  const instanceNames = await namesOf(tx, "instance", idsOf("instance_id"));
  const payers = await namesOf(tx, "tenant", idsOf("bill_to_id"));
  const seatIds = await seats.idsOfSubscriptions(
    tx,
    rows.map(({ id }) => id),
  );
  const views = await seats.views(tx, [...seatIds.values()]);
  const seatViews = new Map(views.map((each) => [each.seatId, each]));
  const isStaff = tx.context.tenantLo !== tx.context.tenantHi;
  const cellNames = await visible.names(
    tx,
    "cell",
    isStaff ? views.map(({ cellId }) => cellId) : [],
  );
  const cellOf = new Map(views.map(({ seatId, cellId }) => [seatId, cellNames.get(cellId) ?? ""]));
  return rows.map((row) => {
    const { fields } = row;
    const seatId = seatIds.get(row.id);
    const wish = wishOf(fields["placement"]);
    return create(SubscriptionSchema, {
      metadata: metadataOf("subscription", row),
      spec: {
        plan: planNames.get(String(fields["plan_id"])) ?? "",
        planVersion: Number(fields["plan_version"]),
        instance: instanceNames.get(String(fields["instance_id"])) ?? "",
        startTime: timestampFromDate(fields["starts_at"] as Date),
        ...(fields["ends_at"] instanceof Date
          ? { endTime: timestampFromDate(fields["ends_at"]) }
          : {}),
        overrides: jsonObject(fields["overrides"]),
        billTo: payers.get(String(fields["bill_to_id"])) ?? "",
        ...(wish === undefined ? {} : { placement: wish }),
      },
      status: {
        seat: seatId === undefined ? "" : idOf("seat", seatId),
        conditions: seatConditions(seatViews.get(seatId ?? ""), row.createdAt),
        // A tenant learns nothing of the pooled instance behind its seat.
        ...(isStaff ? placementView(fields["placed"], cellOf.get(seatId ?? "")) : {}),
      },
    });
  });
}
