/** Table assignment: the latest signed wish for each instance, stored as the bytes that the link writes. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import * as entitlements from "./entitlements.ts";
import type { Tx } from "./tx.ts";

/** Of one page of a cell's heads, and of the offers that are read at once. */
export const OFFERS_MAX = 256;

export type NewAssignment = Readonly<{
  instanceId: string;
  generation: Generation;
  /** Digest of the assignment's payload. */
  digest: string;
  releaseDigest: string;
  /** A serialised holdfast.link.v1.ControlResponse that holds the offer. */
  offer: Uint8Array;
  tombstone: boolean;
}>;

/**
 * The next generation of an instance in this incarnation, written to the instance. The caller holds the
 * instance's lock by this until its transaction ends.
 */
export async function nextGeneration(
  tx: Tx,
  instanceId: string,
  incarnation: bigint,
): Promise<Generation> {
  const rows = await tx.query<{ incarnation: bigint; number: bigint }>(
    `update instance
        set assigned_number = case when assigned_incarnation < $2 then 1 else assigned_number + 1 end,
            assigned_incarnation = greatest(assigned_incarnation, $2)
      where id = $1 and gone_at is null
  returning assigned_incarnation as incarnation, assigned_number as number`,
    [instanceId, incarnation],
  );
  const [row] = rows;
  if (row === undefined) throw new Fault("NOT_FOUND", "NOT_FOUND", "the instance does not exist");
  return row;
}

/** Throws ABORTED `GENERATION_OLD` when a newer one is stored. The same generation may replace its offer (a new entitlement or floor in it). */
export async function replace(tx: Tx, assignment: NewAssignment): Promise<void> {
  const rows = await tx.query(
    `insert into assignment as a (tenant_id, cell_id, instance_id, incarnation, number, digest,
       release_digest, offer, tombstone)
     select i.tenant_id, i.cell_id, i.id, $2, $3, $4, $5, $6, $7
       from instance i where i.id = $1 and i.gone_at is null
     on conflict (vendor_id, tenant_id, instance_id) do update
       set cell_id = excluded.cell_id, incarnation = excluded.incarnation, number = excluded.number,
           digest = excluded.digest, release_digest = excluded.release_digest, offer = excluded.offer,
           tombstone = excluded.tombstone, updated_at = now()
     where (a.incarnation, a.number) < (excluded.incarnation, excluded.number)
        or (a.incarnation, a.number, a.digest) = (excluded.incarnation, excluded.number, excluded.digest)
     returning 1`,
    [
      assignment.instanceId,
      assignment.generation.incarnation,
      assignment.generation.number,
      assignment.digest,
      assignment.releaseDigest,
      assignment.offer,
      assignment.tombstone,
    ],
  );
  if (rows.length === 0) {
    throw new Fault("ABORTED", "GENERATION_OLD", "a newer assignment of this instance is stored");
  }
}

export type AssignmentHead = Readonly<{
  cellId: string;
  instanceId: string;
  incarnation: bigint;
  number: bigint;
  digest: string;
  /** Of the entitlement's payload; null if the instance has none. */
  entitlementDigest: string | null;
  entitlementIncarnation: bigint | null;
  entitlementNumber: bigint | null;
  tombstone: boolean;
}>;

/** What is the latest in each of the cells, by instance id, without the bytes. At most OFFERS_MAX of each after `afterId`. */
export async function heads(
  tx: Tx,
  cellIds: readonly string[],
  afterId: string = NIL_UUID,
): Promise<AssignmentHead[]> {
  // Each is read by its own index. Joined, the planner, to whom every range of the wall is a narrow one, may read all
  // entitlements of the vendor for each assignment.
  const found = await tx.query<Omit<AssignmentHead, keyof typeof NO_ENTITLEMENT>>(
    `select head.* from unnest($1::uuid[]) as cell (id) cross join lateral (
       select cell_id as "cellId", instance_id as "instanceId", incarnation, number, digest, tombstone
         from assignment
        where cell_id = cell.id and instance_id > $2 order by instance_id limit ${OFFERS_MAX}) head`,
    [[...new Set(cellIds)], afterId],
  );
  const entitled = await entitlements.heads(
    tx,
    found.map(({ instanceId }) => instanceId),
  );
  return found.map((head) => {
    const entitlement = entitled.get(head.instanceId);
    if (entitlement === undefined) return { ...head, ...NO_ENTITLEMENT };
    return {
      ...head,
      entitlementDigest: entitlement.digest,
      entitlementIncarnation: entitlement.incarnation,
      entitlementNumber: entitlement.number,
    };
  });
}

const NO_ENTITLEMENT = {
  entitlementDigest: null,
  entitlementIncarnation: null,
  entitlementNumber: null,
};

/** The stored bytes of the named instances' offers, in the order of their ids. At most OFFERS_MAX. */
export function offers(
  tx: Tx,
  instanceIds: readonly string[],
): Promise<{ instanceId: string; offer: Uint8Array }[]> {
  return tx.query(
    `select instance_id as "instanceId", offer from assignment
      where instance_id = any ($1::uuid[]) order by instance_id limit ${OFFERS_MAX}`,
    [instanceIds],
  );
}

export type AssignmentRow = NewAssignment & Readonly<{ cellId: string; updatedAt: Date }>;

export async function get(tx: Tx, instanceId: string): Promise<AssignmentRow | undefined> {
  const rows = await tx.query<
    Omit<AssignmentRow, "generation"> & { incarnation: bigint; number: bigint }
  >(
    `select instance_id as "instanceId", cell_id as "cellId", incarnation, number, digest,
            release_digest as "releaseDigest", offer, tombstone, updated_at as "updatedAt"
       from assignment where instance_id = $1`,
    [instanceId],
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  const { incarnation, number, ...rest } = row;
  return { ...rest, generation: { incarnation, number } };
}

/** Once the tombstone is executed and the instance is gone. */
export async function remove(tx: Tx, instanceId: string): Promise<void> {
  await tx.query("delete from assignment where instance_id = $1", [instanceId]);
}
