/** Table vendor: organisations that one hub serves. The hub's own context sees all, any other one its own. */
import type { Tx } from "./tx.ts";

export type VendorRow = Readonly<{
  id: string;
  name: string;
  displayName: string;
  createdAt: Date;
}>;

const VENDORS_MAX = 1_000;
const COLUMNS = `id, name, display_name as "displayName", created_at as "createdAt"`;

/** In the new vendor's own context. */
export async function insert(tx: Tx, vendor: Omit<VendorRow, "createdAt">): Promise<void> {
  await tx.query("insert into vendor (vendor_id, id, name, display_name) values ($1, $1, $2, $3)", [
    vendor.id,
    vendor.name,
    vendor.displayName,
  ]);
}

export async function get(tx: Tx, id: string): Promise<VendorRow | undefined> {
  const rows = await tx.query<VendorRow>(`select ${COLUMNS} from vendor where id = $1`, [id]);
  return rows[0];
}

/** By name. In the hub's context all of them, at most 1000. */
export function list(tx: Tx): Promise<VendorRow[]> {
  return tx.query<VendorRow>(
    `select ${COLUMNS} from vendor order by name, id limit ${VENDORS_MAX}`,
  );
}
