/** Table seat: tenants' shares of instances. Late usage is mapped by seats that are gone, too. */
import type { StoredCondition } from "./statuses.ts";
import type { Tx } from "./tx.ts";

/** No plan allows more (PlanSpec.seats_max). */
export const INSTANCE_SEATS_MAX = 10_000;
const VIEWS_MAX = 500;

export type SeatRow = Readonly<{
  id: string;
  /** Nil for the reserved one of a pooled instance. */
  tenantId: string;
  name: string;
  cellId: string;
  instanceId: string;
  /** Owner of the instance: the seat's own tenant, or nil for a pooled one. */
  instanceTenantId: string;
  subscriptionId: string | null;
  /** The vendor's own, for pooled usage that no tenant causes. */
  reserved: boolean;
}>;

const COLUMNS = `id, tenant_id as "tenantId", name, cell_id as "cellId", instance_id as "instanceId",
  instance_tenant_id as "instanceTenantId", subscription_id as "subscriptionId", reserved`;

/** Throws ALREADY_EXISTS when the instance has a seat of this name or a reserved one already. */
export async function insert(tx: Tx, seat: SeatRow): Promise<void> {
  await tx.query(
    `insert into seat (tenant_id, id, name, cell_id, instance_id, instance_tenant_id, subscription_id, reserved)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      seat.tenantId,
      seat.id,
      seat.name,
      seat.cellId,
      seat.instanceId,
      seat.instanceTenantId,
      seat.subscriptionId,
      seat.reserved,
    ],
  );
}

/** Of an instance, as far as the caller sees them, by name. */
export function listOfInstance(tx: Tx, instanceId: string): Promise<SeatRow[]> {
  return tx.query<SeatRow>(
    `select ${COLUMNS} from seat where instance_id = $1 and gone_at is null
      order by name, id limit ${INSTANCE_SEATS_MAX}`,
    [instanceId],
  );
}

/** How many each of the instances has, the reserved one included; instances without any are absent. */
export async function countOfInstances(
  tx: Tx,
  instanceIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const rows = await tx.query<{ instanceId: string; count: number }>(
    `select instance_id as "instanceId", count(*)::int as count from seat
      where instance_id = any ($1::uuid[]) and gone_at is null group by instance_id`,
    [instanceIds],
  );
  return new Map(rows.map(({ instanceId, count }) => [instanceId, count]));
}

export async function ofSubscription(tx: Tx, subscriptionId: string): Promise<SeatRow | undefined> {
  const rows = await tx.query<SeatRow>(
    `select ${COLUMNS} from seat where subscription_id = $1 and gone_at is null limit 1`,
    [subscriptionId],
  );
  return rows[0];
}

/** The subscription has ended: the seat is free, its usage stays. */
export async function retire(tx: Tx, id: string): Promise<void> {
  await tx.query(
    `update seat set gone_at = now(), deleted_at = coalesce(deleted_at, now()), revision = revision + 1
      where id = $1 and gone_at is null`,
    [id],
  );
}

export type SeatView = Readonly<{
  seatId: string;
  cellId: string;
  productId: string;
  /** Version that serves; null before the first report. */
  committedRelease: string | null;
  conditions: readonly StoredCondition[];
  outputs: Readonly<Record<string, unknown>>;
  reportedAt: Date | null;
  /** Null before the first report. */
  connected: boolean | null;
}>;

/** How the instances behind seats do: all that a tenant learns of a pooled one. At most 500. */
export function views(tx: Tx, seatIds: readonly string[]): Promise<SeatView[]> {
  return tx.query<SeatView>(
    `select seat_id as "seatId", cell_id as "cellId", product_id as "productId", committed_release as "committedRelease",
            coalesce(conditions, '[]') as conditions, coalesce(outputs, '{}') as outputs,
            reported_at as "reportedAt", connected
       from seat_instance where seat_id = any ($1::uuid[]) limit ${VIEWS_MAX}`,
    [seatIds],
  );
}

/** By subscription; subscriptions without a seat are absent. */
export async function idsOfSubscriptions(
  tx: Tx,
  subscriptionIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.query<{ subscriptionId: string; id: string }>(
    `select subscription_id as "subscriptionId", id from seat
      where subscription_id = any ($1::uuid[]) and gone_at is null`,
    [subscriptionIds],
  );
  return new Map(rows.map(({ subscriptionId, id }) => [subscriptionId, id]));
}
