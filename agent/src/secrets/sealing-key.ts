/** The key that secrets are sealed to: made once, and announced with a signature of the identity key. */
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { signingKey } from "@holdfast/shared/dsse.ts";
import { newSealingIdentity, signSealingKey } from "@holdfast/shared/sealing.ts";
import type { Identity } from "../link/port.ts";
import type { Store } from "../store/database.ts";
import * as secrets from "../store/secrets.ts";

/** For agents that joined before there was such a key; others have it from their enrolment. */
export async function ensureSealingIdentity(store: Store): Promise<void> {
  if (secrets.findSealingIdentity(store) !== undefined) return;
  secrets.putSealingIdentity(store, await newSealingIdentity());
}

/** What hub and CLI are told; undefined while there is no key. */
export function announcedSealingKey(store: Store, identity: Identity): Envelope | undefined {
  const sealing = secrets.findSealingIdentity(store);
  if (sealing === undefined) return undefined;
  const { vendorId, cellId, agentId, identitySeed } = identity;
  const agent = { vendorId, cellId, agentId };
  return signSealingKey(agent, sealing.recipient, signingKey(identitySeed));
}
