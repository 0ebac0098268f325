/** Seats: what a tenant sees of an instance, also of a pooled one. Read only; subscriptions and instances make them. */
import { create } from "@bufbuild/protobuf";
import type { ConditionView } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { type Seat, SeatSchema } from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { type Condition, viewConditions } from "../../domain/conditions.ts";
import { SEATS } from "../../store/object-tables.ts";
import { namesOf, type ObjectRow } from "../../store/objects.ts";
import * as seats from "../../store/seats.ts";
import type { Tx } from "../../store/tx.ts";
import * as visible from "../../store/visible.ts";
import { metadataOf } from "../metadata.ts";
import type { Kind } from "../standard.ts";
import { conditionViews, jsonObject } from "../views.ts";

export const SEAT: Kind<Seat> = {
  kind: "seat",
  schema: SeatSchema,
  table: SEATS,
  owner: "either",
  view,
  own: () => Promise.reject(new RangeError("seats are not written through the API")),
};

/** How the instance behind a seat does, as far as its tenant is concerned. */
export function seatConditions(
  behind: seats.SeatView | undefined,
  createdAt: Date,
): ConditionView[] {
  const nothing = { incarnation: 0n, number: 0n };
  const since = (behind?.reportedAt ?? createdAt).toISOString();
  const connected = behind?.connected ?? null;
  const all = viewConditions((behind?.conditions ?? []) as readonly Condition[], {
    assigned: nothing,
    observed: nothing,
    session: connected === null ? undefined : { isOpen: connected, since },
    createdAt: createdAt.toISOString(),
  });
  return conditionViews(all.filter(({ type }) => type === "Ready" || type === "Healthy"));
}

async function view(tx: Tx, rows: readonly ObjectRow[]): Promise<readonly Seat[]> {
  const idsOf = (column: string) =>
    rows.flatMap(({ fields }) => (typeof fields[column] === "string" ? [fields[column]] : []));
  const behind = await seats.views(
    tx,
    rows.map(({ id }) => id),
  );
  const views = new Map(behind.map((each) => [each.seatId, each]));
  const products = await visible.names(
    tx,
    "product",
    behind.map(({ productId }) => productId),
  );
  const subscriptions = await namesOf(tx, "subscription", idsOf("subscription_id"));
  const instances = await namesOf(tx, "instance", idsOf("instance_id"));
  return rows.map((row) => {
    const seen = views.get(row.id);
    return create(SeatSchema, {
      metadata: metadataOf("seat", row),
      spec: {
        product: products.get(seen?.productId ?? "") ?? "",
        subscription: subscriptions.get(String(row.fields["subscription_id"])) ?? "",
        instance: instances.get(String(row.fields["instance_id"])) ?? "",
      },
      status: {
        conditions: seatConditions(seen, row.createdAt),
        release: seen?.committedRelease ?? "",
        outputs: jsonObject(seen?.outputs),
      },
    });
  });
}
