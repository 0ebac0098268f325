/** Table entitlement: the latest signed entitlement of each instance. Its revision is its own: no attempt follows. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Generation } from "@holdfast/shared/generation.ts";
import type { Tx } from "./tx.ts";

export type EntitlementRow = Readonly<{
  instanceId: string;
  incarnation: bigint;
  number: bigint;
  /** Of the payload. */
  digest: string;
  /** A serialised holdfast.model.v1.Envelope. */
  envelope: Uint8Array;
}>;

export async function get(tx: Tx, instanceId: string): Promise<EntitlementRow | undefined> {
  const rows = await tx.query<EntitlementRow>(
    `select instance_id as "instanceId", incarnation, number, digest, envelope
       from entitlement where instance_id = $1`,
    [instanceId],
  );
  return rows[0];
}

export type EntitlementHead = Omit<EntitlementRow, "envelope">;

/** By instance, without the bytes. Instances without one are absent. */
export async function heads(
  tx: Tx,
  instanceIds: readonly string[],
): Promise<ReadonlyMap<string, EntitlementHead>> {
  if (instanceIds.length === 0) return new Map();
  const rows = await tx.query<EntitlementHead>(
    `select instance_id as "instanceId", incarnation, number, digest from entitlement
      where instance_id = any ($1::uuid[])`,
    [instanceIds],
  );
  return new Map(rows.map((row) => [row.instanceId, row]));
}

/** The revision after the stored one. The caller holds the instance's lock. */
export async function nextRevision(
  tx: Tx,
  instanceId: string,
  incarnation: bigint,
): Promise<Generation> {
  const now = await get(tx, instanceId);
  if (now === undefined || now.incarnation < incarnation) return { incarnation, number: 1n };
  return { incarnation: now.incarnation, number: now.number + 1n };
}

/** Throws ABORTED `REVISION_OLD` unless it is newer than the stored one. */
export async function replace(tx: Tx, entitlement: EntitlementRow): Promise<void> {
  const rows = await tx.query(
    `insert into entitlement as e (tenant_id, cell_id, instance_id, incarnation, number, digest, envelope)
     select i.tenant_id, i.cell_id, i.id, $2, $3, $4, $5
       from instance i where i.id = $1 and i.gone_at is null
     on conflict (vendor_id, tenant_id, instance_id) do update
       set cell_id = excluded.cell_id, incarnation = excluded.incarnation, number = excluded.number,
           digest = excluded.digest, envelope = excluded.envelope, updated_at = now()
     where (e.incarnation, e.number) < (excluded.incarnation, excluded.number)
     returning 1`,
    [
      entitlement.instanceId,
      entitlement.incarnation,
      entitlement.number,
      entitlement.digest,
      entitlement.envelope,
    ],
  );
  if (rows.length === 0) {
    throw new Fault("ABORTED", "REVISION_OLD", "a newer entitlement of this instance is stored");
  }
}

export async function remove(tx: Tx, instanceId: string): Promise<void> {
  await tx.query("delete from entitlement where instance_id = $1", [instanceId]);
}
