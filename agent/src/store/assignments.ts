/** What the hub wants: newest accepted assignment, release and entitlement bytes, and the newest refusal. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import type { Generation } from "@holdfast/shared/generation.ts";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

/** An agent holds no more instances than one list can show; a further one is refused. */
export const INSTANCES_MAX = LIST_ROWS_MAX;

export type HeldAssignment = Readonly<{
  instanceId: string;
  envelope: Envelope;
  /** Of the payload. */
  digest: string;
  generation: Generation;
  /** Empty for a tombstone. */
  releaseDigest: string;
  acceptedAt: number;
  /** Its tombstone was executed. */
  removed: boolean;
}>;

export type HeldEntitlement = Readonly<{
  instanceId: string;
  envelope: Envelope;
  digest: string;
  revision: Generation;
  /** The workload's file is written and it was told. */
  delivered: boolean;
}>;

export type Refusal = Readonly<{
  instanceId: string;
  generation: Generation;
  releaseVersion: string;
  reason: string;
  message: string;
  at: number;
}>;

type AssignmentRow = Readonly<{
  instance_id: string;
  envelope: Uint8Array;
  digest: string;
  incarnation: bigint;
  number: bigint;
  release_digest: string;
  accepted_at: bigint;
  removed: bigint;
}>;

function assignmentOf(row: AssignmentRow): HeldAssignment {
  return {
    instanceId: row.instance_id,
    envelope: fromBinary(EnvelopeSchema, row.envelope),
    digest: row.digest,
    generation: { incarnation: row.incarnation, number: row.number },
    releaseDigest: row.release_digest,
    acceptedAt: Number(row.accepted_at),
    removed: row.removed !== 0n,
  };
}

export function find(store: Store, instanceId: string): HeldAssignment | undefined {
  return store.kept(instanceId, "assignment", () => {
    const row = store.get<AssignmentRow>(
      "select * from assignment where instance_id = ?",
      instanceId,
    );
    return row === undefined ? undefined : assignmentOf(row);
  });
}

export function list(store: Store): readonly HeldAssignment[] {
  return store
    .all<AssignmentRow>("select * from assignment order by instance_id limit ?", LIST_ROWS_MAX)
    .map(assignmentOf);
}

export function count(store: Store): number {
  return Number(store.get<{ n: bigint }>("select count(*) as n from assignment")?.n ?? 0n);
}

/** Stores a newer one; the guard against an older generation is in the statement. True if stored. */
export function replace(store: Store, held: Omit<HeldAssignment, "removed">): boolean {
  const changed = store.run(
    `insert into assignment
       (instance_id, envelope, digest, incarnation, number, release_digest, accepted_at)
     values (?, ?, ?, ?, ?, ?, ?)
     on conflict (instance_id) do update set envelope = excluded.envelope, digest = excluded.digest,
       incarnation = excluded.incarnation, number = excluded.number, removed = 0,
       release_digest = excluded.release_digest, accepted_at = excluded.accepted_at
     where (excluded.incarnation, excluded.number) > (assignment.incarnation, assignment.number)`,
    held.instanceId,
    toBinary(EnvelopeSchema, held.envelope),
    held.digest,
    held.generation.incarnation,
    held.generation.number,
    held.releaseDigest,
    held.acceptedAt,
  );
  return changed === 1;
}

/** Only of the generation whose tombstone was executed. */
export function markRemoved(store: Store, instanceId: string, generation: Generation): void {
  store.run(
    "update assignment set removed = 1 where instance_id = ? and incarnation = ? and number = ?",
    instanceId,
    generation.incarnation,
    generation.number,
  );
}

export function findRelease(store: Store, digest: string): Envelope | undefined {
  const row = store.get<{ envelope: Uint8Array }>(
    "select envelope from release where digest = ?",
    digest,
  );
  return row === undefined ? undefined : fromBinary(EnvelopeSchema, row.envelope);
}

export function putRelease(store: Store, digest: string, envelope: Envelope, at: number): void {
  store.run(
    "insert into release (digest, envelope, stored_at) values (?, ?, ?) on conflict do nothing",
    digest,
    toBinary(EnvelopeSchema, envelope),
    at,
  );
}

/** Those that something wanted or committed names: two for each instance at most. */
export function listReleases(store: Store): readonly Envelope[] {
  return store
    .all<{ envelope: Uint8Array }>("select envelope from release limit ?", 2 * LIST_ROWS_MAX)
    .map(({ envelope }) => fromBinary(EnvelopeSchema, envelope));
}

/** Releases that nothing wanted and nothing committed names. */
export function pruneReleases(store: Store): number {
  return store.run(
    `delete from release where digest not in (select release_digest from assignment)
       and digest not in (select release_digest from committed)`,
  );
}

type EntitlementRow = Readonly<{
  instance_id: string;
  envelope: Uint8Array;
  digest: string;
  incarnation: bigint;
  number: bigint;
  delivered: bigint;
}>;

export function findEntitlement(store: Store, instanceId: string): HeldEntitlement | undefined {
  return store.kept(instanceId, "entitlement", () => readEntitlement(store, instanceId));
}

function readEntitlement(store: Store, instanceId: string): HeldEntitlement | undefined {
  const row = store.get<EntitlementRow>(
    "select * from entitlement where instance_id = ?",
    instanceId,
  );
  if (row === undefined) return undefined;
  return {
    instanceId: row.instance_id,
    envelope: fromBinary(EnvelopeSchema, row.envelope),
    digest: row.digest,
    revision: { incarnation: row.incarnation, number: row.number },
    delivered: row.delivered !== 0n,
  };
}

export function replaceEntitlement(store: Store, held: Omit<HeldEntitlement, "delivered">): void {
  store.run(
    `insert into entitlement (instance_id, envelope, digest, incarnation, number)
     values (?, ?, ?, ?, ?)
     on conflict (instance_id) do update set envelope = excluded.envelope, digest = excluded.digest,
       incarnation = excluded.incarnation, number = excluded.number, delivered = 0
     where (excluded.incarnation, excluded.number) > (entitlement.incarnation, entitlement.number)`,
    held.instanceId,
    toBinary(EnvelopeSchema, held.envelope),
    held.digest,
    held.revision.incarnation,
    held.revision.number,
  );
}

export function markDelivered(store: Store, instanceId: string, digest: string): void {
  store.run(
    "update entitlement set delivered = 1 where instance_id = ? and digest = ?",
    instanceId,
    digest,
  );
}

export function removeEntitlement(store: Store, instanceId: string): void {
  store.run("delete from entitlement where instance_id = ?", instanceId);
}

export function findRefusal(store: Store, instanceId: string): Refusal | undefined {
  return store.kept(instanceId, "refusal", () => readRefusal(store, instanceId));
}

function readRefusal(store: Store, instanceId: string): Refusal | undefined {
  const row = store.get<{
    incarnation: bigint;
    number: bigint;
    release_version: string;
    reason: string;
    message: string;
    at: bigint;
  }>("select * from refusal where instance_id = ?", instanceId);
  if (row === undefined) return undefined;
  const { incarnation, number, release_version: releaseVersion, reason, message } = row;
  return {
    instanceId,
    generation: { incarnation, number },
    releaseVersion,
    reason,
    message,
    at: Number(row.at),
  };
}

/** Refusals of instances that are not held count too, up to INSTANCES_MAX; further ones are only logged. */
export function putRefusal(store: Store, refusal: Refusal): void {
  const others = store.get<{ n: bigint }>(
    "select count(*) as n from refusal where instance_id <> ?",
    refusal.instanceId,
  );
  if (Number(others?.n ?? 0n) >= INSTANCES_MAX) return;
  store.run(
    "insert or replace into refusal values (?, ?, ?, ?, ?, ?, ?)",
    refusal.instanceId,
    refusal.generation.incarnation,
    refusal.generation.number,
    refusal.releaseVersion,
    refusal.reason,
    refusal.message,
    refusal.at,
  );
}

export function removeRefusal(store: Store, instanceId: string): void {
  store.run("delete from refusal where instance_id = ?", instanceId);
}

export function listRefused(store: Store): readonly string[] {
  return store
    .all<{ instance_id: string }>(
      "select instance_id from refusal order by instance_id limit ?",
      LIST_ROWS_MAX,
    )
    .map((row) => row.instance_id);
}
