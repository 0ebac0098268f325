/** Pieces that several kinds show: conditions, presence, JSON objects. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type ConditionView,
  ConditionViewSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import type { Condition } from "../domain/conditions.ts";
import type { Presence } from "../store/presence.ts";

export function conditionViews(conditions: readonly Condition[]): ConditionView[] {
  return conditions.map(({ type, status, reason, message, lastTransitionTime }) =>
    create(ConditionViewSchema, {
      type,
      status,
      reason,
      message,
      lastTransitionTime: timestampFromDate(new Date(lastTransitionTime)),
    }),
  );
}

/** As `viewConditions` wants it. */
export function sessionOf(
  presence: Presence | undefined,
  otherwise: Date,
): Readonly<{ isOpen: boolean; since: string }> | undefined {
  if (presence === undefined) return undefined;
  return { isOpen: presence.connected, since: (presence.since ?? otherwise).toISOString() };
}

/** As stored when it was put there; what was made before that was recorded has none. */
export function placementView(placed: unknown, cell = ""): Readonly<{ placement?: Placement }> {
  const { reason, message } = (placed ?? {}) as Readonly<{ reason?: string; message?: string }>;
  return reason === undefined ? {} : { placement: { cell, reason, message: message ?? "" } };
}

type Placement = Readonly<{ cell: string; reason: string; message: string }>;

/** A jsonb object as protobuf's Struct wants it; it was one when it was stored. */
export function jsonObject(value: unknown): JsonObject {
  return (value ?? {}) as JsonObject;
}
