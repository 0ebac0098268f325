/**
 * The vendor's key sets, as agents pin them. The first set of release keys is trusted as it comes; each next one is
 * signed by the one before. A set of destroy keys is signed by a release key as well, so that no hub can make one up.
 * The hub's own assignment keys are set by the hub alone.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ListKeySetsResponse,
  ListKeySetsResponseSchema,
  type SetKeySetRequest,
  SetKeySetRequestSchema,
  type SetKeySetResponse,
  SetKeySetResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/hub_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  KeyPurpose,
  type KeySet,
  KeySetSchema,
} from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import {
  keyIdOf,
  openEnvelope,
  PAYLOAD_TYPES,
  type VerificationKey,
  verificationKey,
} from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, NIL_UUID } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as keySets from "../store/key-sets.ts";
import type { Tx } from "../store/tx.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { mutate, read } from "./mutation.ts";
import { refuse } from "./refusal.ts";

const KEYS_MAX = 16;

export function listKeySets(deps: AppDeps, call: Call): Promise<ListKeySetsResponse> {
  return read(deps, call, async (tx) => {
    const rows = await keySets.listNewest(tx);
    return create(ListKeySetsResponseSchema, { keySets: rows.map(keySetOf) });
  });
}

export function setKeySet(
  deps: AppDeps,
  call: Call,
  request: SetKeySetRequest,
): Promise<SetKeySetResponse> {
  const mutation = {
    call,
    request,
    requestId: request.requestId,
    requestSchema: SetKeySetRequestSchema,
    answerSchema: SetKeySetResponseSchema,
  };
  return mutate(deps, mutation, async (tx) => {
    const { vendorId, vendorName } = call.caller;
    const { envelope } = request;
    const keySet = offeredSet(envelope, vendorId);
    const present = (await keySets.listNewest(tx)).find(
      ({ purpose }) => purpose === keySet.purpose,
    );
    checkNext(envelope, keySet, present && keySetOf(present));
    if (keySet.purpose === KeyPurpose.DESTROY) {
      // Whoever joins later has no set before this one to trust it by, and a hub must never be able to make one up.
      openEnvelope("keyset", envelope, await releaseKeys(tx));
    }
    if (envelope !== undefined && present?.version !== keySet.version) {
      const { purpose, version } = keySet;
      await keySets.insert(tx, { purpose, version, envelope: toBinary(EnvelopeSchema, envelope) });
      await record(tx, actorOf(call), deps.clock.now(), {
        verb: "key_set_changed",
        kind: "vendor",
        subject: { tenantId: NIL_UUID, id: vendorId, name: vendorName, revision: version },
        after: {
          purpose: KeyPurpose[purpose] ?? "",
          version: version.toString(),
          keyIds: keySet.keys.map(({ keyId }) => keyId),
        },
      });
    }
    return create(SetKeySetResponseSchema, { keySet });
  });
}

/** Keys of the newest set of this purpose; none where there is no set. */
export async function keysOfPurpose(
  tx: Tx,
  purpose: KeyPurpose,
): Promise<readonly VerificationKey[]> {
  const newest = (await keySets.listNewest(tx)).find((each) => each.purpose === purpose);
  return newest === undefined ? [] : keysOf(keySetOf(newest));
}

/** Keys of the newest set of release keys. Throws FAILED_PRECONDITION `RELEASE_KEYS_MISSING`. */
export async function releaseKeys(tx: Tx): Promise<readonly VerificationKey[]> {
  const keys = await keysOfPurpose(tx, KeyPurpose.RELEASE);
  if (keys.length > 0) return keys;
  throw new Fault(
    "FAILED_PRECONDITION",
    "RELEASE_KEYS_MISSING",
    "the vendor has no release keys yet; nothing can be published before their first set is there",
    { next: "holdfast key set --key FILE" },
  );
}

function keysOf({ keys }: KeySet): readonly VerificationKey[] {
  return keys.map(({ publicKey }) => verificationKey(publicKey));
}

function keySetOf({ envelope }: keySets.KeySetRow): KeySet {
  return fromBinary(KeySetSchema, fromBinary(EnvelopeSchema, envelope).payload);
}

/** Well-formed, and the vendor's own; whether it is trusted is judged next. */
function offeredSet(envelope: Envelope | undefined, vendorId: string): KeySet {
  if (envelope?.payloadType !== PAYLOAD_TYPES.keyset) {
    const got = shown(envelope?.payloadType ?? "");
    throw refuse(
      "envelope.payload_type",
      `got ${got}; allowed: ${PAYLOAD_TYPES.keyset}`,
      "ENVELOPE_TYPE",
    );
  }
  const keySet = parsed(envelope.payload);
  const vendor = idOf("vendor", vendorId);
  if (keySet.vendorId !== vendor) {
    throw refuse(
      "key_set.vendor_id",
      `got ${shown(keySet.vendorId)}; this vendor is ${vendor}`,
      "VENDOR_MISMATCH",
    );
  }
  if (keySet.purpose !== KeyPurpose.RELEASE && keySet.purpose !== KeyPurpose.DESTROY) {
    throw refuse("key_set.purpose", "allowed: release, destroy", "PURPOSE_REFUSED");
  }
  if (keySet.keys.length === 0 || keySet.keys.length > KEYS_MAX) {
    throw refuse(
      "key_set.keys",
      `got ${keySet.keys.length}; allowed: 1 to ${KEYS_MAX}`,
      "KEYS_COUNT",
    );
  }
  for (const [at, key] of keySet.keys.entries()) {
    verificationKey(key.publicKey);
    if (key.keyId !== keyIdOf(key.publicKey) || key.purpose !== keySet.purpose) {
      throw refuse(`key_set.keys[${at}]`, "its id or purpose does not fit", "KEY_MALFORMED");
    }
  }
  return keySet;
}

function parsed(payload: Uint8Array): KeySet {
  try {
    return fromBinary(KeySetSchema, payload);
  } catch {
    throw refuse("envelope.payload", "it is no key set", "KEY_SET_MALFORMED");
  }
}

/** The next one grows by one and is signed by the present one; the same one again changes nothing. */
function checkNext(
  envelope: Envelope | undefined,
  next: KeySet,
  present: KeySet | undefined,
): void {
  const isSame =
    present !== undefined &&
    Buffer.from(toBinary(KeySetSchema, present)).equals(toBinary(KeySetSchema, next));
  const wanted = isSame ? present.version : (present?.version ?? 0n) + 1n;
  if (next.version !== wanted) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "KEY_SET_VERSION",
      `key_set.version: got ${next.version}; the next one is ${wanted}`,
    );
  }
  const isFirstDestroy = present === undefined && next.purpose === KeyPurpose.DESTROY;
  if (!isSame && !isFirstDestroy) openEnvelope("keyset", envelope, keysOf(present ?? next));
}
