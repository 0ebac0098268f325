/** Takes in what changes the agent's trust: key sets at enrolment and later, freshness notes. */
import { fromBinary } from "@bufbuild/protobuf";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { KeyPurpose } from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import type { Store } from "../store/database.ts";
import * as pins from "../store/pins.ts";
import { type Addressee, judgeFreshness, judgeKeySet, keysOf } from "./judge.ts";

/** True if something newer was pinned. Throws a Fault with the rule that it breaks. */
export function pinKeySet(store: Store, envelope: Envelope, vendorId: string): boolean {
  const held = (purpose: KeyPurpose) => pins.findKeySet(store, purpose);
  const { verdict, set, payload } = judgeKeySet(envelope, held, vendorId);
  return verdict === "replace" && pins.replaceKeySet(store, set, payload);
}

/** Throws a Fault with the rule that the note breaks. */
export function noteFreshness(store: Store, envelope: Envelope, to: Addressee): void {
  const held = pins.findFreshness(store);
  const present = held && fromBinary(FreshnessSchema, held.payload);
  const keys = keysOf(pins.findKeySet(store, KeyPurpose.ASSIGNMENT));
  judgeFreshness(envelope, keys, to, present);
  pins.replaceFreshness(store, envelope);
}
