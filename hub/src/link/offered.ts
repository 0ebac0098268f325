/** What the link, which otherwise only writes bytes, has to know of them: is it news, and when is the next note due. */
import { equals, fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  ControlResponseSchema,
  type Held,
  HeldSchema,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { compareGenerations, generationOf } from "@holdfast/shared/generation.ts";
import { FRESHNESS_MS_MAX, FRESHNESS_MS_MIN } from "./limits.ts";

/** Whether a frame changed what the agent holds. */
export function isNewer(after: Held, before: Held | undefined): boolean {
  return before === undefined || !equals(HeldSchema, after, before);
}

/** Whether a frame is later than another one of the same instance. */
export function supersedes(after: Held, before: Held | undefined): boolean {
  if (before === undefined) return true;
  const order = compareGenerations(generationOf(after.generation), generationOf(before.generation));
  if (order !== 0) return order > 0;
  const [revision, last] = [after.entitlementRevision, before.entitlementRevision];
  return compareGenerations(generationOf(revision), generationOf(last)) > 0;
}

/** Milliseconds until the note is to be sent again: half of what is left of it, within bounds. */
export function freshnessPauseMs(frame: Uint8Array, now: number): number {
  const { message } = fromBinary(ControlResponseSchema, frame);
  if (message.case !== "freshness") return FRESHNESS_MS_MAX;
  const { expireTime } = fromBinary(FreshnessSchema, message.value.payload);
  const leftMs = expireTime === undefined ? FRESHNESS_MS_MAX : timestampMs(expireTime) - now;
  return Math.min(FRESHNESS_MS_MAX, Math.max(FRESHNESS_MS_MIN, leftMs / 2));
}
