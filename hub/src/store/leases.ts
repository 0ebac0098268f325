/**
 * Table lease: who runs a loop, as a row with a fence. A holder that lost its lease finds out when it writes,
 * because each guarded transaction begins with `guard`. Times are the database's.
 */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

export type Lease = Readonly<{ name: string; holder: string; fence: bigint }>;

/** Takes a free or expired lease, or prolongs one's own; undefined: another one holds it. */
export async function take(
  tx: Tx,
  name: string,
  holder: string,
  lifeMs: number,
): Promise<Lease | undefined> {
  const rows = await tx.query<Lease>(
    `insert into lease as l (name, holder, fence, expires_at)
     values ($1, $2, 1, now() + make_interval(secs => $3 / 1000.0))
     on conflict (vendor_id, tenant_id, name) do update
       set holder = $2, expires_at = excluded.expires_at,
           fence = l.fence + case when l.holder = $2 and l.expires_at > now() then 0 else 1 end
     where l.holder = $2 or l.expires_at <= now()
     returning name, holder, fence`,
    [name, holder, lifeMs],
  );
  return rows[0];
}

/** Locks the lease until the transaction ends. Throws ABORTED `LEASE_LOST` for any but the present holder. */
export async function guard(tx: Tx, lease: Lease): Promise<void> {
  const rows = await tx.query(
    `select from lease where name = $1 and holder = $2 and fence = $3 and expires_at > now() for update`,
    [lease.name, lease.holder, lease.fence],
  );
  if (rows.length === 0) {
    throw new Fault("ABORTED", "LEASE_LOST", `lease ${lease.name} is held by another process now`);
  }
}

/** So that the next holder need not wait. */
export async function release(tx: Tx, lease: Lease): Promise<void> {
  await tx.query(
    "update lease set expires_at = now() where name = $1 and holder = $2 and fence = $3",
    [lease.name, lease.holder, lease.fence],
  );
}
