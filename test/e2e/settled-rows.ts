/** What the example has copied, once nothing is under way: the truth that bills are held against. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { compare } from "../../examples/etl/src/compare.ts";
import type { Fleet } from "../../scripts/fleet/fleet.ts";
import { until } from "./until.ts";

/** Every source row of a seat is in the destination once; the durable count of each seat. */
export async function settledRows(
  fleet: Fleet,
  source: string,
  directory: string,
): Promise<Record<string, number>> {
  const { seats } = JSON.parse(readFileSync(join(directory, "seats.json"), "utf8")) as {
    seats: { seat: string; name: string; reserved: boolean }[];
  };
  const result = await until(`all rows of ${source} are copied`, async () => {
    const seen = await compare({
      source: fleet.layout.source(source).file,
      destination: join(directory, "data", "warehouse.db"),
      seats: seats.map(({ seat, name, reserved }) => ({ id: seat, name, reserved })),
    });
    expect(seen.differences).toEqual([]);
    return seen.isComplete && seen;
  });
  expect(result.isExact).toBe(true);
  return Object.fromEntries(
    Object.entries(result.seats).map(([seat, { counted }]) => [seat, counted]),
  );
}
