/** Which instances of a product have a stored offer: those that a new floor must reach. */
import type { Tx } from "./tx.ts";

/** Offers that one floor can be put beside in one transaction. */
export const FLOOR_OFFERS_MAX = 10_000;

/** In the order of instances, so that two writers lock them alike. */
export function offersOfProduct(
  tx: Tx,
  productId: string,
): Promise<{ cellId: string; instanceId: string }[]> {
  return tx.query(
    `select a.cell_id as "cellId", a.instance_id as "instanceId"
       from assignment a join instance i on i.id = a.instance_id and i.tenant_id = a.tenant_id
      where i.product_id = $1 and i.gone_at is null
      order by a.instance_id limit ${FLOOR_OFFERS_MAX}`,
    [productId],
  );
}
