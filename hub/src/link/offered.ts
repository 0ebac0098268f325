/**
 * What a stored frame means to the link, which otherwise only writes its bytes: what the agent holds once it
 * has read it, and when a freshness note is due again.
 */
import { clone, create, fromBinary } from "@bufbuild/protobuf";
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
import { FRESHNESS_MS_MAX, FRESHNESS_MS_MIN } from "./limits.ts";
import type { StoredFrame } from "./port.ts";

/** What the agent holds after this frame, as it would say in Hello. A frame without an assignment leaves that as it was. */
export function heldAfter(frame: StoredFrame, before: Held | undefined): Held {
  const { message } = fromBinary(ControlResponseSchema, frame.bytes);
  const held = before === undefined ? create(HeldSchema) : clone(HeldSchema, before);
  held.instanceId = frame.instanceId;
  held.removed = false;
  if (message.case !== "offer") return held;
  const { assignment, entitlement } = message.value;
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

/** Milliseconds until the note is to be sent again: half of what is left of it, within bounds. */
export function freshnessPauseMs(frame: Uint8Array, now: number): number {
  const { message } = fromBinary(ControlResponseSchema, frame);
  if (message.case !== "freshness") return FRESHNESS_MS_MAX;
  const { expireTime } = fromBinary(FreshnessSchema, message.value.payload);
  const leftMs = expireTime === undefined ? FRESHNESS_MS_MAX : timestampMs(expireTime) - now;
  return Math.min(FRESHNESS_MS_MAX, Math.max(FRESHNESS_MS_MIN, leftMs / 2));
}
