/**
 * Whether an offer of the hub may become what this agent works towards. Pure. Nothing is believed because the
 * hub says so: signatures against pinned keys, addressee, generation, floor and blueprint are checked here.
 * Every refusal is a Fault whose reason says which rule it broke; a refusal never touches what serves.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { CandidateSchema } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import {
  type Assignment,
  AssignmentSchema,
  DestroyOrderSchema,
  type Entitlement,
  EntitlementSchema,
  type Freshness,
  FreshnessSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Blueprint, BlueprintSchema } from "@holdfast/proto/holdfast/model/v1/blueprint_pb.js";
import type { Envelope } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import {
  type Floor,
  FloorSchema,
  KeyPurpose,
  type KeySet,
  KeySetSchema,
} from "@holdfast/proto/holdfast/model/v1/keys_pb.js";
import { BLUEPRINT_BYTES_MAX, SECRETS_MAX } from "@holdfast/shared/blueprint/bounds.ts";
import { DESTROY_LIFE_MS_MAX, DESTROY_NAMES_MAX } from "@holdfast/shared/destroy-order.ts";
import { digestOf } from "@holdfast/shared/digest.ts";
import {
  openEnvelope,
  type PayloadKind,
  type VerificationKey,
  verificationKey,
} from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import {
  compareGenerations,
  formatGeneration,
  type Generation,
  generationOf,
  isImplausibleJump,
} from "@holdfast/shared/generation.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";

/** For whom this agent works. */
export type Addressee = Readonly<{ vendorId: string; cellId: string }>;

/** A document that the agent holds already: its generation and the digest of its payload. */
export type Holding = Readonly<{ generation: Generation; digest: string }>;

/** One message of the hub; larger ones are refused before anything is parsed. */
export const PAYLOAD_BYTES_MAX = BLUEPRINT_BYTES_MAX;

export type JudgedAssignment = Readonly<{
  verdict: "replace" | "keep";
  assignment: Assignment;
  generation: Generation;
  digest: string;
}>;

export function keysOf(set: KeySet | undefined): readonly VerificationKey[] {
  return set?.keys.map(({ publicKey }) => verificationKey(publicKey)) ?? [];
}

/** All of it but the release, which has to be fetched first. */
export function judgeAssignment(
  envelope: Envelope | undefined,
  keys: readonly VerificationKey[],
  to: Addressee,
  held: Holding | undefined,
): JudgedAssignment {
  const payload = open("assignment", envelope, keys);
  const assignment = decoded("assignment", () => fromBinary(AssignmentSchema, payload));
  judgeAddressee("assignment", assignment, to);
  uuidOf("instance", assignment.instanceId, "assignment: instance_id");
  if (assignment.secrets.length > SECRETS_MAX) {
    const got = `${assignment.secrets.length} secrets; at most ${SECRETS_MAX}`;
    throw refusal("SECRETS_TOO_MANY", `assignment: ${got}`);
  }
  const generation = generationOf(assignment.generation);
  const digest = digestOf(payload);
  const verdict = judgeGeneration("generation", held, { generation, digest });
  return { verdict, assignment, generation, digest };
}

/** What is to be rehearsed: for this agent, and not over. Its generation says nothing, since it is not applied. */
export function judgeCandidate(
  envelope: Envelope | undefined,
  keys: readonly VerificationKey[],
  to: Addressee,
  hubNow: number,
): Assignment {
  const payload = open("rehearsal", envelope, keys);
  const { assignment, expireTime } = decoded("rehearsal", () =>
    fromBinary(CandidateSchema, payload),
  );
  if (assignment === undefined) throw refusal("PAYLOAD_MALFORMED", "rehearsal: no assignment");
  judgeAddressee("rehearsal", assignment, to);
  uuidOf("instance", assignment.instanceId, "rehearsal: instance_id");
  if (expireTime !== undefined && hubNow <= Number(expireTime.seconds) * 1_000) return assignment;
  throw refusal("REHEARSAL_EXPIRED", "rehearsal: its time is over");
}

/** The blueprint of a release, once it is the one that the assignment names and the floor allows it. */
export function judgeRelease(
  envelope: Envelope,
  keys: readonly VerificationKey[],
  assignment: Assignment,
  floor: bigint,
): Blueprint {
  const payload = open("blueprint", envelope, keys);
  const digest = digestOf(payload);
  if (digest !== assignment.releaseDigest) {
    throw refusal(
      "RELEASE_SWAPPED",
      `release: got content ${digest}; the assignment names ${shown(assignment.releaseDigest)}`,
    );
  }
  const blueprint = decoded("blueprint", () => fromBinary(BlueprintSchema, payload));
  const pairs = [
    ["vendor", blueprint.vendorId, assignment.vendorId],
    ["product", blueprint.product, assignment.product],
    ["version", blueprint.version, assignment.releaseVersion],
    ["number", blueprint.number, assignment.releaseNumber],
  ] as const;
  for (const [field, inRelease, inAssignment] of pairs) {
    if (inRelease === inAssignment) continue;
    throw refusal(
      "RELEASE_MISMATCH",
      `release ${field}: got ${shown(String(inRelease))}; the assignment says ${shown(String(inAssignment))}`,
    );
  }
  if (blueprint.number < floor) {
    throw refusal(
      "RELEASE_BELOW_FLOOR",
      `release number ${blueprint.number} of ${blueprint.product} is below the floor ${floor}`,
    );
  }
  return blueprint;
}

export type JudgedEntitlement = Readonly<{
  verdict: "replace" | "keep";
  entitlement: Entitlement;
  revision: Generation;
  digest: string;
}>;

export function judgeEntitlement(
  envelope: Envelope,
  keys: readonly VerificationKey[],
  to: Addressee,
  instanceId: string,
  held: Holding | undefined,
): JudgedEntitlement {
  const payload = open("entitlement", envelope, keys);
  const entitlement = decoded("entitlement", () => fromBinary(EntitlementSchema, payload));
  judgeAddressee("entitlement", entitlement, to);
  if (entitlement.instanceId !== instanceId) {
    throw refusal(
      "WRONG_INSTANCE",
      `entitlement: for instance ${shown(entitlement.instanceId)}; offered for ${instanceId}`,
    );
  }
  const revision = generationOf(entitlement.revision);
  const digest = digestOf(payload);
  const verdict = judgeGeneration("revision", held, { generation: revision, digest });
  return { verdict, entitlement, revision, digest };
}

/** A floor is a statement of the release key; whether it is higher than the held one is for the store. */
export function judgeFloor(
  envelope: Envelope,
  keys: readonly VerificationKey[],
  vendorId: string,
): Floor {
  const payload = open("floor", envelope, keys);
  const floor = decoded("floor", () => fromBinary(FloorSchema, payload));
  if (floor.vendorId !== vendorId) {
    throw refusal("WRONG_VENDOR", `floor: of vendor ${shown(floor.vendorId)}; ours ${vendorId}`);
  }
  return floor;
}

export type JudgedDestroyOrder = Readonly<{
  generation: Generation;
  /** Empty: all that is kept. */
  names: readonly string[];
  /** Of the payload: the order's identity. */
  digest: string;
  keyId: string;
}>;

/** All of it but the generation. `now`: the later of this host's clock and the hub's. */
export function judgeDestroyOrder(
  envelope: Envelope | undefined,
  keys: readonly VerificationKey[],
  to: Addressee,
  instanceId: string,
  now: number,
): JudgedDestroyOrder {
  if (keys.length === 0) {
    throw refusal("DESTROY_KEYS_MISSING", "destroy: no destroy keys of the vendor are pinned here");
  }
  const { payload, keyId } = openEnvelope("destroy", bounded("destroy", envelope), keys);
  const order = decoded("destroy", () => fromBinary(DestroyOrderSchema, payload));
  judgeAddressee("destroy", order, to);
  if (order.instanceId !== instanceId) {
    const message = `destroy: for instance ${shown(order.instanceId)}; given for ${instanceId}`;
    throw refusal("WRONG_INSTANCE", message);
  }
  const signedAt = Number(order.signTime?.seconds ?? 0n) * 1_000;
  const endsAt = Number(order.expireTime?.seconds ?? 0n) * 1_000;
  if (endsAt <= signedAt || endsAt - signedAt > DESTROY_LIFE_MS_MAX) {
    throw refusal("ORDER_LIFE", "destroy: good for no time, or for longer than 30 days");
  }
  if (now > endsAt) {
    throw refusal("ORDER_EXPIRED", `destroy: good until ${new Date(endsAt).toISOString()}`);
  }
  if (order.names.length > DESTROY_NAMES_MAX) {
    const message = `destroy: ${order.names.length} names; at most ${DESTROY_NAMES_MAX}`;
    throw refusal("ORDER_NAMES", message);
  }
  const generation = generationOf(order.generation);
  return { generation, names: order.names, digest: digestOf(payload), keyId };
}

/**
 * The next set is signed by a key of the present one; a first one by a key of its own, but for destroy keys: those the
 * release keys vouch for, or a hub that was taken over could make some up where the vendor has none.
 */
export function judgeKeySet(
  envelope: Envelope,
  held: (purpose: KeyPurpose) => KeySet | undefined,
  vendorId: string,
): Readonly<{ verdict: "replace" | "keep"; set: KeySet; payload: Uint8Array }> {
  // Which keys may sign it depends on its purpose, so that one field is read before the signature is good.
  const claimed = decoded("keyset", () => fromBinary(KeySetSchema, envelope.payload));
  const present = held(claimed.purpose);
  const isDestroy = claimed.purpose === KeyPurpose.DESTROY;
  const first = isDestroy ? held(KeyPurpose.RELEASE) : claimed;
  const payload = open("keyset", envelope, keysOf(present ?? first));
  const set = decoded("keyset", () => fromBinary(KeySetSchema, payload));
  if (set.vendorId !== vendorId) {
    throw refusal("WRONG_VENDOR", `keyset: of vendor ${shown(set.vendorId)}; ours ${vendorId}`);
  }
  if (set.keys.length === 0 || set.keys.some((key) => key.purpose !== set.purpose)) {
    throw refusal("KEY_SET_MALFORMED", "keyset: needs keys of exactly its own purpose");
  }
  if (present === undefined || set.version > present.version) {
    return { verdict: "replace", set, payload };
  }
  if (set.version === present.version) return { verdict: "keep", set, payload };
  throw refusal("KEY_SET_OLD", `keyset: version ${set.version}; held ${present.version}`);
}

/** Not to be believed before the set is pinned. */
export function purposeClaimed({ payload }: Envelope): KeyPurpose | undefined {
  try {
    return fromBinary(KeySetSchema, payload).purpose;
  } catch {
    // Refused when it is pinned.
    return undefined;
  }
}

/** Throws FRESHNESS_OLD for a note that is older than the held one. */
export function judgeFreshness(
  envelope: Envelope,
  keys: readonly VerificationKey[],
  to: Addressee,
  held: Freshness | undefined,
): Freshness {
  const note = decoded("freshness", () =>
    fromBinary(FreshnessSchema, open("freshness", envelope, keys)),
  );
  judgeAddressee("freshness", note, to);
  const signed = note.signTime?.seconds ?? 0n;
  const isOlder =
    held !== undefined &&
    (note.incarnation < held.incarnation ||
      (note.incarnation === held.incarnation && signed < (held.signTime?.seconds ?? 0n)));
  if (isOlder) throw refusal("FRESHNESS_OLD", "freshness: older than the note that is held");
  return note;
}

function judgeAddressee(
  kind: string,
  { vendorId, cellId }: Readonly<{ vendorId: string; cellId: string }>,
  to: Addressee,
): void {
  if (vendorId !== to.vendorId) {
    throw refusal("WRONG_VENDOR", `${kind}: of vendor ${shown(vendorId)}; ours ${to.vendorId}`);
  }
  if (cellId !== to.cellId) {
    throw refusal("WRONG_CELL", `${kind}: for cell ${shown(cellId)}; this is ${to.cellId}`);
  }
}

/** A late message must not undo a newer wish, and one generation must never mean two things. */
function judgeGeneration(
  what: "generation" | "revision",
  held: Holding | undefined,
  offered: Holding,
): "replace" | "keep" {
  const upper = what.toUpperCase();
  const text = formatGeneration(offered.generation);
  const heldGeneration = held?.generation ?? { incarnation: 0n, number: 0n };
  const order = compareGenerations(offered.generation, heldGeneration);
  if (order < 0) {
    throw refusal(
      `${upper}_OLD`,
      `${what} ${text} is older than ${formatGeneration(heldGeneration)}`,
    );
  }
  if (order === 0) {
    if (held?.digest === offered.digest) return "keep";
    throw refusal(`${upper}_REUSED`, `${what} ${text} is held with other content`);
  }
  if (isImplausibleJump(heldGeneration, offered.generation)) {
    throw refusal(
      `${upper}_JUMP`,
      `${what} ${text} is too far ahead of ${formatGeneration(heldGeneration)}`,
    );
  }
  return "replace";
}

function open(
  kind: PayloadKind,
  envelope: Envelope | undefined,
  keys: readonly VerificationKey[],
): Uint8Array {
  return openEnvelope(kind, bounded(kind, envelope), keys).payload;
}

function bounded(kind: PayloadKind, envelope: Envelope | undefined): Envelope | undefined {
  const size = envelope?.payload.length ?? 0;
  if (size <= PAYLOAD_BYTES_MAX) return envelope;
  throw refusal("PAYLOAD_SIZE", `${kind}: ${size} bytes; at most ${PAYLOAD_BYTES_MAX}`);
}

function decoded<Message>(kind: string, read: () => Message): Message {
  try {
    return read();
  } catch (error) {
    throw new Fault("PERMISSION_DENIED", "PAYLOAD_MALFORMED", `${kind}: not readable`, {
      cause: error,
    });
  }
}

function refusal(reason: string, message: string): Fault {
  return new Fault("PERMISSION_DENIED", reason, message);
}
