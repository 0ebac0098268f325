/** Table cell beyond what all objects have (objects.ts): fencing numbers, and cells as the link sees them. */
import type { Tx } from "./tx.ts";

export type CellRow = Readonly<{
  id: string;
  /** Nil for a hosted one. */
  tenantId: string;
  name: string;
  /** CellKind: 1 byoa, 2 hosted. */
  kind: number;
  region: string;
  facts: Readonly<Record<string, unknown>>;
  /** Highest fencing number that was given out; 0: no agent yet. */
  fencing: bigint;
  deletedAt: Date | null;
}>;

export async function get(tx: Tx, id: string): Promise<CellRow | undefined> {
  const [row] = await list(tx, [id]);
  return row;
}

/** Those that are visible and not gone, in no order. */
export function list(tx: Tx, ids: readonly string[]): Promise<CellRow[]> {
  return tx.query<CellRow>(
    `select id, tenant_id as "tenantId", name, kind, region, facts, fencing, deleted_at as "deletedAt"
       from cell where id = any ($1::uuid[]) and gone_at is null`,
    [ids],
  );
}

/** Also of a cell that is gone: what its owner is to be told of it. */
export async function getForEvent(
  tx: Tx,
  id: string,
): Promise<(Pick<CellRow, "id" | "tenantId" | "name"> & { revision: bigint }) | undefined> {
  const rows = await tx.query<Pick<CellRow, "id" | "tenantId" | "name"> & { revision: bigint }>(
    `select id, tenant_id as "tenantId", name, revision from cell where id = $1`,
    [id],
  );
  return rows[0];
}

/**
 * The fencing number after `present`; whoever carries the highest is the cell's active agent. Undefined if the cell
 * is gone or another agent has come since: of any number of callers at once exactly one gets it.
 */
export async function nextFencing(
  tx: Tx,
  cellId: string,
  present: bigint,
): Promise<bigint | undefined> {
  const [row] = await tx.query<{ fencing: bigint }>(
    `update cell set fencing = fencing + 1
      where id = $1 and fencing = $2 and gone_at is null returning fencing`,
    [cellId, present],
  );
  return row?.fencing;
}
