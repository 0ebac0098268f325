/**
 * What a stored frame means to the link, which otherwise only writes its bytes: what the agent holds once it
 * has read it, and when a freshness note is due again.
 */
import { clone, create, equals, fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  ControlResponseSchema,
  type Held,
  HeldSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  AssignmentSchema,
  EntitlementSchema,
  FreshnessSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { FRESHNESS_MS_MAX, FRESHNESS_MS_MIN } from "./limits.ts";
import type { StoredFrame } from "./port.ts";

/** By instance id as on the wire. */
export type HeldInstances = ReadonlyMap<string, Held>;

/**
 * What the agent holds after this frame, as it would say in Hello. A part that the frame does not carry stays
 * as it was. Throws INTERNAL `FRAME_MALFORMED` for bytes that are no offer.
 */
export function heldAfter({ bytes }: StoredFrame, before: HeldInstances): Held {
  const { message } = fromBinary(ControlResponseSchema, bytes);
  if (message.case !== "offer") {
    throw new Fault("INTERNAL", "FRAME_MALFORMED", "a stored frame is no offer");
  }
  const { instanceId, assignment, entitlement } = message.value;
  const known = before.get(instanceId);
  const held = known === undefined ? create(HeldSchema, { instanceId }) : clone(HeldSchema, known);
  held.removed = false;
  if (assignment !== undefined) {
    const { generation } = fromBinary(AssignmentSchema, assignment.payload);
    if (generation !== undefined) held.generation = generation;
    held.assignmentDigest = digestOf(assignment.payload);
  }
  if (entitlement !== undefined) {
    const { revision } = fromBinary(EntitlementSchema, entitlement.payload);
    if (revision !== undefined) held.entitlementRevision = revision;
  }
  return held;
}

/** Whether a frame changed what the agent holds. */
export function isNewer(after: Held, before: Held | undefined): boolean {
  return before === undefined || !equals(HeldSchema, after, before);
}

/** Milliseconds until the note is to be sent again: half of what is left of it, within bounds. */
export function freshnessPauseMs(frame: Uint8Array, now: number): number {
  const { message } = fromBinary(ControlResponseSchema, frame);
  if (message.case !== "freshness") return FRESHNESS_MS_MAX;
  const { expireTime } = fromBinary(FreshnessSchema, message.value.payload);
  const leftMs = expireTime === undefined ? FRESHNESS_MS_MAX : timestampMs(expireTime) - now;
  return Math.min(FRESHNESS_MS_MAX, Math.max(FRESHNESS_MS_MIN, leftMs / 2));
}
