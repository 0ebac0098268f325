/** Whether what an agent holds is what it should hold. Pure: state against state, never a difference of messages. */
import type { Held } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { compareGenerations, generationOf } from "@holdfast/shared/generation.ts";

/** The latest that was signed for one instance. */
export type Latest = Readonly<{
  incarnation: bigint;
  number: bigint;
  digest: string;
  entitlementIncarnation: bigint | null;
  entitlementNumber: bigint | null;
  tombstone: boolean;
}>;

/** What is older than what the agent holds is not offered: it would refuse it each time. */
export function isOfferDue(latest: Latest, held: Held | undefined): boolean {
  if (held === undefined) return true;
  const order = compareGenerations(latest, generationOf(held.generation));
  if (order !== 0) return order > 0;
  if (latest.tombstone && held.removed) return false;
  if (latest.digest !== held.assignmentDigest) return true;
  if (latest.entitlementIncarnation === null || latest.entitlementNumber === null) return false;
  const revision = {
    incarnation: latest.entitlementIncarnation,
    number: latest.entitlementNumber,
  };
  return compareGenerations(revision, generationOf(held.entitlementRevision)) > 0;
}
