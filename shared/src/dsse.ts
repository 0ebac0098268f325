/**
 * Signed bytes: DSSE envelopes (github.com/secure-systems-lab/dsse, protocol v1) with Ed25519 keys.
 * The payload is never parsed before a signature over it was found good, and never re-serialised.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { sha256 } from "./digest.ts";
import { Fault } from "./fault.ts";
import { shown } from "./text.ts";

export const PAYLOAD_TYPES = {
  blueprint: "application/vnd.holdfast.blueprint+proto",
  assignment: "application/vnd.holdfast.assignment+proto",
  entitlement: "application/vnd.holdfast.entitlement+proto",
  freshness: "application/vnd.holdfast.freshness+proto",
  keyset: "application/vnd.holdfast.keyset+proto",
  floor: "application/vnd.holdfast.floor+proto",
  rehearsal: "application/vnd.holdfast.rehearsal+proto",
  destroy: "application/vnd.holdfast.destroy+proto",
  "sealing-key": "application/vnd.holdfast.sealing-key+proto",
} as const;
export type PayloadKind = keyof typeof PAYLOAD_TYPES;

/** An Ed25519 public key with its id. */
export type VerificationKey = Readonly<{ keyId: string; publicKey: KeyObject }>;
export type SigningKey = Readonly<{ keyId: string; privateKey: KeyObject }>;

/** SubjectPublicKeyInfo of Ed25519 up to the 32 key bytes (RFC 8410). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
/** PKCS #8 of Ed25519 up to the 32 seed bytes (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SIGNATURES_MAX = 8;

/** First 16 hex digits of the SHA-256 of the raw public key. */
export function keyIdOf(rawPublicKey: Uint8Array): string {
  return Buffer.from(sha256(rawPublicKey)).toString("hex").slice(0, 16);
}

/** Throws INVALID_ARGUMENT `KEY_MALFORMED` unless given the 32 bytes of an Ed25519 public key. */
export function verificationKey(rawPublicKey: Uint8Array): VerificationKey {
  if (rawPublicKey.length !== 32) {
    throw new Fault(
      "INVALID_ARGUMENT",
      "KEY_MALFORMED",
      `Ed25519 public keys have 32 bytes, got ${rawPublicKey.length}`,
    );
  }
  const der = Buffer.concat([SPKI_PREFIX, rawPublicKey]);
  return {
    keyId: keyIdOf(rawPublicKey),
    publicKey: createPublicKey({ key: der, format: "der", type: "spki" }),
  };
}

/** From the 32-byte seed of an Ed25519 private key (RFC 8032). */
export function signingKey(seed: Uint8Array): SigningKey {
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return { keyId: keyIdOf(rawPublicKeyOf(privateKey)), privateKey };
}

export function rawPublicKeyOf(key: KeyObject): Uint8Array {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ format: "der", type: "spki" }).subarray(SPKI_PREFIX.length);
}

/** Pre-authentication encoding: what is really signed, so a payload never passes for another type. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType);
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `),
    type,
    Buffer.from(` ${payload.length} `),
    payload,
  ]);
}

export function signEnvelope(
  kind: PayloadKind,
  payload: Uint8Array,
  keys: readonly SigningKey[],
): Envelope {
  const payloadType = PAYLOAD_TYPES[kind];
  const encoded = preAuthEncoding(payloadType, payload);
  return create(EnvelopeSchema, {
    payloadType,
    payload,
    signatures: keys.map(({ keyId, privateKey }) => ({
      keyId,
      signature: sign(null, encoded, privateKey),
    })),
  });
}

/**
 * The payload, once one signature by one of `keys` is good, and the id of that key.
 * Throws PERMISSION_DENIED with reason ENVELOPE_TYPE, UNSIGNED, UNKNOWN_KEY or SIGNATURE_BAD.
 */
export function openEnvelope(
  kind: PayloadKind,
  envelope: Envelope | undefined,
  keys: readonly VerificationKey[],
): Readonly<{ payload: Uint8Array; keyId: string }> {
  const refuse = (reason: string, message: string) =>
    new Fault("PERMISSION_DENIED", reason, `${kind}: ${message}`);
  if (envelope === undefined) throw refuse("UNSIGNED", "no envelope");
  const { payloadType, payload, signatures } = envelope;
  if (payloadType !== PAYLOAD_TYPES[kind]) {
    throw refuse("ENVELOPE_TYPE", `got type ${shown(payloadType)}; want ${PAYLOAD_TYPES[kind]}`);
  }
  if (signatures.length === 0) throw refuse("UNSIGNED", "the envelope carries no signature");
  if (signatures.length > SIGNATURES_MAX) {
    throw refuse("SIGNATURE_BAD", `${signatures.length} signatures; at most ${SIGNATURES_MAX}`);
  }
  const encoded = preAuthEncoding(payloadType, payload);
  const known = signatures.flatMap((each) => {
    const key = keys.find(({ keyId }) => keyId === each.keyId);
    return key === undefined ? [] : [{ key, signature: each.signature }];
  });
  if (known.length === 0) {
    const ids = signatures.map(({ keyId }) => shown(keyId)).join(", ");
    throw refuse("UNKNOWN_KEY", `signed by ${ids}, which is not a key that is trusted here`);
  }
  const good = known.find(({ key, signature }) => verify(null, encoded, key.publicKey, signature));
  if (good === undefined) throw refuse("SIGNATURE_BAD", "the signature does not fit the payload");
  return { payload, keyId: good.key.keyId };
}
