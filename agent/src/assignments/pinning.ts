/** Takes in what changes the agent's trust: key sets at enrolment and later, freshness notes. */
import { fromBinary } from "@bufbuild/protobuf";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import { type Addressee, judgeFreshness, judgeKeySet, keysOf, purposeClaimed } from "./judge.ts";

/** True if something newer was pinned. Throws a Fault with the rule that it breaks. */
export function pinKeySet(store: Store, envelope: Envelope, vendorId: string): boolean {
  const held = (purpose: KeyPurpose) => pins.findKeySet(store, purpose);
  const { verdict, set, payload } = judgeKeySet(envelope, held, vendorId);
  return verdict === "replace" && pins.replaceKeySet(store, set, payload);
}

/**
 * All that the hub gives at a join, release keys first, since they vouch for others. Destroy keys that they do not vouch
 * for are left out: then this agent obeys no destroy order, which is no reason not to join.
 */
export function pinAtJoin(store: Store, envelopes: readonly Envelope[], vendorId: string): void {
  const left: Envelope[] = [];
  for (const envelope of envelopes) {
    if (purposeClaimed(envelope) === KeyPurpose.DESTROY) left.push(envelope);
    else pinKeySet(store, envelope, vendorId);
  }
  for (const envelope of left) {
    try {
      pinKeySet(store, envelope, vendorId);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "PERMISSION_DENIED") throw error;
    }
  }
}

/** Throws a Fault with the rule that the note breaks. */
export function noteFreshness(store: Store, envelope: Envelope, to: Addressee): void {
  const held = pins.findFreshness(store);
  const present = held && fromBinary(FreshnessSchema, held.payload);
  const keys = keysOf(pins.findKeySet(store, KeyPurpose.ASSIGNMENT));
  judgeFreshness(envelope, keys, to, present);
  pins.replaceFreshness(store, envelope);
}
