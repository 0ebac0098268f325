/** Table meter: what each release of a product measures. */
import type { Tx } from "./tx.ts";

export type MeterRow = Readonly<{
  productId: string;
  name: string;
  releaseNumber: bigint;
  unit: string;
  /** RecordKind: 1 counter, 2 window, 3 occurrence. */
  kind: number;
  /** GapRule: 1 none, 2 hold_last. */
  gap: number;
  maxRatePerSecond: bigint;
}>;

export async function insertAll(tx: Tx, meters: readonly MeterRow[]): Promise<void> {
  for (const meter of meters) {
    await tx.query(
      `insert into meter (product_id, name, release_number, unit, kind, gap, max_rate_per_second)
       values ($1, $2, $3, $4, $5, $6, $7)`,
      [
        meter.productId,
        meter.name,
        meter.releaseNumber,
        meter.unit,
        meter.kind,
        meter.gap,
        meter.maxRatePerSecond,
      ],
    );
  }
}

/** The newest declaration of each meter of a product. */
export function listNewest(tx: Tx, productId: string): Promise<MeterRow[]> {
  return tx.query<MeterRow>(
    `select distinct on (name) product_id as "productId", name, release_number as "releaseNumber",
            unit, kind, gap, max_rate_per_second as "maxRatePerSecond"
       from meter where product_id = $1 order by name, release_number desc`,
    [productId],
  );
}
