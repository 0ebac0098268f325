/**
 * Signs what a cell is told about one instance (assignment, entitlement) and stores it as the finished bytes
 * that the link writes. Runs in the transaction of the change; the doorbell rings after its commit.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ControlResponseSchema,
  type Held,
  HeldSchema,
  type Offer,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type Assignment,
  AssignmentSchema,
  EntitlementSchema,
  type SeatEntitlementSchema,
} from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { digestOf } from "@holdfast/shared/digest.ts";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import { idOf } from "@holdfast/shared/ids.ts";
import * as assignments from "../store/assignments.ts";
import * as entitlements from "../store/entitlements.ts";
import type { Tx } from "../store/tx.ts";
import type { AppDeps } from "./deps.ts";
import type { SecretWish } from "./secret-references.ts";

const DAY_MS = 86_400_000;

export type OfferDeps = Pick<AppDeps, "keysOf" | "incarnation" | "clock" | "cellBells">;

/** Where an instance is; UUIDs. */
export type Place = Readonly<{ vendorId: string; cellId: string; instanceId: string }>;

/** All that an assignment says beside where, when and which generation. */
export type Wish = Omit<
  MessageInitShape<typeof AssignmentSchema>,
  "$typeName" | "vendorId" | "cellId" | "instanceId" | "generation" | "signTime"
>;

/** Signs the next generation. `floor` is the product's floor as it was uploaded. */
export async function assign(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  wish: Wish,
  floor: Uint8Array | undefined,
): Promise<Generation> {
  const [generation, entitlement] = await Promise.all([
    assignments.nextGeneration(tx, place.instanceId, deps.incarnation),
    entitlements.get(tx, place.instanceId),
  ]);
  const assignment = create(AssignmentSchema, {
    ...wish,
    vendorId: idOf("vendor", place.vendorId),
    cellId: idOf("cell", place.cellId),
    instanceId: idOf("instance", place.instanceId),
    generation,
    signTime: timestampFromMs(deps.clock.now()),
  });
  const payload = toBinary(AssignmentSchema, assignment);
  const { assignmentKey } = deps.keysOf(place.vendorId);
  const envelope = signEnvelope("assignment", payload, [assignmentKey]);
  await store(deps, tx, place, {
    generation,
    digest: digestOf(payload),
    releaseDigest: assignment.releaseDigest,
    tombstone: assignment.tombstone !== undefined,
    offer: {
      instanceId: assignment.instanceId,
      assignment: envelope,
      ...(entitlement === undefined
        ? {}
        : { entitlement: fromBinary(EnvelopeSchema, entitlement.envelope) }),
      ...(floor === undefined ? {} : { floor: fromBinary(EnvelopeSchema, floor) }),
    },
  });
  return generation;
}

/** Signs the same wish once more as a tombstone: what runs is to go, data stays. */
export async function assignTombstone(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  undeleteDays: number,
): Promise<void> {
  const retention = durationFromMs(undeleteDays * DAY_MS);
  await assignAgain(deps, tx, place, { tombstone: { keepData: true, retention } });
}

/** Signs the same wish once more with these secrets. */
export function assignSecrets(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  secrets: readonly SecretWish[],
): Promise<Generation> {
  return assignAgain(deps, tx, place, { secrets: [...secrets] });
}

async function assignAgain(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  change: Pick<Wish, "tombstone" | "secrets">,
): Promise<Generation> {
  const { offer } = await present(tx, place);
  const { $typeName: _, $unknown: __, ...last } = assignmentIn(offer);
  const floor = offer.floor === undefined ? undefined : toBinary(EnvelopeSchema, offer.floor);
  return await assign(deps, tx, place, { ...last, ...change }, floor);
}

export type SeatWish = MessageInitShape<typeof SeatEntitlementSchema>;

/** Signs the instance's seats under the next revision; the generation stays, so no attempt follows. */
export async function entitle(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  seats: readonly SeatWish[],
): Promise<void> {
  const revision = await entitlements.nextRevision(tx, place.instanceId, deps.incarnation);
  const payload = toBinary(
    EntitlementSchema,
    create(EntitlementSchema, {
      vendorId: idOf("vendor", place.vendorId),
      cellId: idOf("cell", place.cellId),
      instanceId: idOf("instance", place.instanceId),
      revision,
      seats: [...seats],
    }),
  );
  const { assignmentKey } = deps.keysOf(place.vendorId);
  const envelope = signEnvelope("entitlement", payload, [assignmentKey]);
  await entitlements.replace(tx, {
    instanceId: place.instanceId,
    ...revision,
    digest: digestOf(payload),
    envelope: toBinary(EnvelopeSchema, envelope),
  });
  if ((await assignments.get(tx, place.instanceId)) === undefined) return;
  await reframe(deps, tx, place, { entitlement: envelope });
}

/** Puts a new entitlement or floor beside the present assignment, whose bytes stay. */
export async function reframe(
  deps: OfferDeps,
  tx: Tx,
  place: Place,
  change: Readonly<{ entitlement?: Envelope; floor?: Envelope }>,
): Promise<void> {
  const { row, offer } = await present(tx, place);
  await store(deps, tx, place, { ...row, offer: { ...offer, ...change } });
}

type Stored = Omit<assignments.NewAssignment, "offer" | "instanceId"> &
  Readonly<{
    offer: Omit<Offer, "$typeName" | "assignment"> & { assignment?: Envelope | undefined };
  }>;

async function store(
  { cellBells }: OfferDeps,
  tx: Tx,
  { vendorId, cellId, instanceId }: Place,
  stored: Stored,
): Promise<void> {
  const frame = create(ControlResponseSchema, {
    message: { case: "offer", value: stored.offer as Offer },
  });
  const bytes = toBinary(ControlResponseSchema, frame);
  await assignments.replace(tx, {
    instanceId,
    generation: stored.generation,
    digest: stored.digest,
    releaseDigest: stored.releaseDigest,
    tombstone: stored.tombstone,
    offer: bytes,
  });
  const fresh = { held: heldWith(stored), bytes };
  tx.afterCommit((isCommitted) => {
    cellBells.ring({ vendorId, cellId }, isCommitted ? fresh : undefined);
  });
}

/** What an agent that took it would say in Hello. */
function heldWith({ generation, digest, offer }: Stored): Held {
  const payload = offer.entitlement?.payload;
  const revision = payload && fromBinary(EntitlementSchema, payload).revision;
  return create(HeldSchema, {
    instanceId: offer.instanceId,
    generation,
    assignmentDigest: digest,
    ...(revision === undefined ? {} : { entitlementRevision: revision }),
  });
}

/** What was signed last for an instance, also in a transaction that is taken back. */
export async function signedAssignment(tx: Tx, instanceId: string): Promise<Assignment> {
  return assignmentIn((await present(tx, { instanceId })).offer);
}

async function present(
  tx: Tx,
  { instanceId }: Pick<Place, "instanceId">,
): Promise<Readonly<{ row: assignments.AssignmentRow; offer: Offer }>> {
  const row = await assignments.get(tx, instanceId);
  const frame = row && fromBinary(ControlResponseSchema, row.offer).message;
  if (row === undefined || frame?.case !== "offer") {
    throw new Fault("INTERNAL", "OFFER_MISSING", `instance ${instanceId} has no stored offer`);
  }
  return { row, offer: frame.value };
}

/** Its signature was made by this hub and is not checked again. */
function assignmentIn({ assignment }: Offer): Assignment {
  return fromBinary(AssignmentSchema, assignment?.payload ?? new Uint8Array());
}
