/** Table release_floor: the newest signed floor of each product. It never goes down. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

export type FloorRow = Readonly<{
  productId: string;
  minReleaseNumber: bigint;
  /** A serialised holdfast.model.v1.Envelope. */
  envelope: Uint8Array;
}>;

/** Throws FAILED_PRECONDITION `FLOOR_LOWER` when the present one is higher. */
export async function raise(tx: Tx, floor: FloorRow): Promise<void> {
  const rows = await tx.query(
    `insert into release_floor as f (product_id, min_release_number, envelope) values ($1, $2, $3)
     on conflict (vendor_id, tenant_id, product_id) do update
       set min_release_number = excluded.min_release_number, envelope = excluded.envelope,
           updated_at = now()
     where f.min_release_number <= excluded.min_release_number
     returning 1`,
    [floor.productId, floor.minReleaseNumber, floor.envelope],
  );
  if (rows.length > 0) return;
  const present = await get(tx, floor.productId);
  throw new Fault(
    "FAILED_PRECONDITION",
    "FLOOR_LOWER",
    `floor: got ${floor.minReleaseNumber}; the present one is ${present?.minReleaseNumber}, and a floor never goes down`,
  );
}

export async function get(tx: Tx, productId: string): Promise<FloorRow | undefined> {
  const rows = await tx.query<FloorRow>(
    `select product_id as "productId", min_release_number as "minReleaseNumber", envelope
       from release_floor where product_id = $1`,
    [productId],
  );
  return rows[0];
}
