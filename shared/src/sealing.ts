/**
 * Secrets sealed to one agent, as age files (age-encryption.org/v1, X25519). Whoever seals checks first that the
 * recipient is the agent's own, by the signature of its identity key; whoever opens checks that the value was
 * meant for just this place. The library is loaded on first use: most agents open a secret rarely or never.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  SealedSecretSchema,
  SealingKeySchema,
} from "@holdfast/proto/holdfast/model/v1/secret_pb.js";
import { digestOf } from "./digest.ts";
import { openEnvelope, type SigningKey, signEnvelope, verificationKey } from "./dsse.ts";
import { Fault } from "./fault.ts";
import { shown } from "./text.ts";

export const SECRET_BYTES_MAX = 65_536;
/** What the place and age add to a value is below 1 KiB. */
export const SEALED_BYTES_MAX = SECRET_BYTES_MAX + 1_024;

const RECIPIENT = /^age1[02-9ac-hj-np-z]{58}$/;
/** Text up to the share of the one recipient; what follows is its wrapped key and the header's MAC. */
const AGE_HEADER =
  /^age-encryption\.org\/v1\n-> X25519 [A-Za-z0-9+/]{43}\n[A-Za-z0-9+/]{43}\n--- [A-Za-z0-9+/]{43}\n/;
const AGE_HEADER_BYTES = 256;

/** Whose key it is; ids as people see them. */
export type SealingAgent = Readonly<{ vendorId: string; cellId: string; agentId: string }>;
export type SealingIdentity = Readonly<{
  /** AGE-SECRET-KEY-1…; never leaves the agent. */
  identity: string;
  recipient: string;
}>;
/** Where a secret belongs. */
export type SecretPlace = Readonly<{ instanceId: string; name: string; version: bigint }>;

export async function newSealingIdentity(): Promise<SealingIdentity> {
  const { generateX25519Identity, identityToRecipient } = await import("age-encryption");
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** How people compare identity keys: the digest of the raw public key. */
export function identityFingerprint(identityKey: Uint8Array): string {
  return digestOf(identityKey);
}

/** `key`: the agent's identity key. */
export function signSealingKey(agent: SealingAgent, recipient: string, key: SigningKey): Envelope {
  const payload = toBinary(SealingKeySchema, create(SealingKeySchema, { ...agent, recipient }));
  return signEnvelope("sealing-key", payload, [key]);
}

/**
 * The recipient, once the identity key has signed that it is this agent's. Throws PERMISSION_DENIED with a
 * reason of openEnvelope, or `SEALING_KEY_UNFIT`.
 */
export function openSealingKey(
  envelope: Envelope | undefined,
  identityKey: Uint8Array,
  agent: SealingAgent,
): string {
  const { payload } = openEnvelope("sealing-key", envelope, [verificationKey(identityKey)]);
  const said = fromBinary(SealingKeySchema, payload);
  const refuse = (message: string) =>
    new Fault("PERMISSION_DENIED", "SEALING_KEY_UNFIT", `sealing key: ${message}`);
  for (const field of ["vendorId", "cellId", "agentId"] as const) {
    if (said[field] === agent[field]) continue;
    throw refuse(`it is for ${shown(said[field])}; expected ${agent[field]}`);
  }
  if (!RECIPIENT.test(said.recipient)) throw refuse(`got ${shown(said.recipient)}; allowed: age1…`);
  return said.recipient;
}

/** Throws INVALID_ARGUMENT `SECRET_EMPTY` or `SECRET_TOO_LARGE`. */
export async function sealSecret(
  place: SecretPlace,
  value: Uint8Array,
  recipient: string,
): Promise<Uint8Array> {
  const refuse = (reason: string, message: string) =>
    new Fault("INVALID_ARGUMENT", reason, `secret ${place.name}: ${message}`);
  if (value.length === 0) throw refuse("SECRET_EMPTY", "the value is empty");
  if (value.length > SECRET_BYTES_MAX) {
    throw refuse("SECRET_TOO_LARGE", `got ${value.length} bytes; at most ${SECRET_BYTES_MAX}`);
  }
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const message = create(SealedSecretSchema, { ...place, value });
  return await encrypter.encrypt(toBinary(SealedSecretSchema, message));
}

/** Whether the bytes look like sealed ones: keeps a value that was sent as it is from being stored. */
export function isSealed(bytes: Uint8Array): boolean {
  if (bytes.length > SEALED_BYTES_MAX) return false;
  return AGE_HEADER.test(Buffer.from(bytes.subarray(0, AGE_HEADER_BYTES)).toString("latin1"));
}

/** Throws FAILED_PRECONDITION `SECRET_UNREADABLE`; no message holds any of the value. */
export async function openSecret(
  place: SecretPlace,
  sealed: Uint8Array,
  identity: string,
): Promise<string> {
  const refuse = (message: string, cause?: unknown) =>
    new Fault("FAILED_PRECONDITION", "SECRET_UNREADABLE", `secret ${place.name}: ${message}`, {
      cause,
    });
  if (!isSealed(sealed)) throw refuse("what the hub sent is not sealed");
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  const bytes = await decrypter.decrypt(sealed).catch((error: unknown) => {
    throw refuse("it does not open with this agent's key", error);
  });
  const { instanceId, name, version, value } = fromBinary(SealedSecretSchema, bytes);
  if (instanceId !== place.instanceId || name !== place.name || version !== place.version) {
    throw refuse(`it was sealed as ${shown(instanceId)}/${shown(name)} version ${version}`);
  }
  return Buffer.from(value).toString("utf8");
}
