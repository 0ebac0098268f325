/** Who sits in an instance: makes seats, and signs the list of them with what each is entitled to. */
import type { PlanSpec } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import * as plans from "../store/plans.ts";
import * as seats from "../store/seats.ts";
import * as subscriptions from "../store/subscription-plans.ts";
import type { Tx } from "../store/tx.ts";
import { planSpecOf } from "./kinds/plan.ts";
import { entitle, type OfferDeps, type Place, type SeatWish } from "./offer.ts";

/** Of an allotment that names none. */
const PERIOD_DEFAULT = "P1M";
const SEAT_NAME_CHARS_MAX = 63;

/** The vendor's own seat in a pooled instance. */
export const RESERVED_SEAT = "vendor";

export function seatWish(
  seat: Readonly<{ id: string; name: string; reserved: boolean }>,
  allotments: PlanSpec["allotments"],
): SeatWish {
  return {
    seatId: idOf("seat", seat.id),
    name: seat.name,
    reserved: seat.reserved,
    allotments: allotments.map(({ meter, amount, period }) => ({
      meter,
      amount,
      period: period === "" ? PERIOD_DEFAULT : period,
    })),
  };
}

/** Signs the instance's present seats again. In a context that sees all of them and their plans. */
export async function resign(deps: OfferDeps, tx: Tx, place: Place): Promise<void> {
  const present = await seats.listOfInstance(tx, place.instanceId);
  const subscriptionIds = present.flatMap(({ subscriptionId }) => subscriptionId ?? []);
  const plansOf = await subscriptions.plansOf(tx, subscriptionIds);
  const versions = await plans.listVersions(tx, [...plansOf.values()]);
  const specs = new Map(versions.map((each) => [`${each.planId}/${each.version}`, each.spec]));
  const wishes = present.map((seat) => {
    const plan = plansOf.get(seat.subscriptionId ?? "");
    const spec = plan === undefined ? undefined : specs.get(`${plan.planId}/${plan.version}`);
    return seatWish(seat, planSpecOf(spec).allotments);
  });
  await entitle(deps, tx, place, wishes);
}

/** A seat's name: the tenant's, and where that sits here already, with the subscription's behind it. */
export async function freeSeatName(
  tx: Tx,
  instanceId: string,
  tenant: string,
  subscription: string,
): Promise<string> {
  const taken = new Set((await seats.listOfInstance(tx, instanceId)).map(({ name }) => name));
  if (!taken.has(tenant)) return tenant;
  return `${tenant}.${subscription}`.slice(0, SEAT_NAME_CHARS_MAX);
}
