/** What a person on this host approved: that an instance's generation may remove more resources with data than the budget. */
import type { Generation } from "@holdfast/shared/generation.ts";
import type { Store } from "./database.ts";

export const REMOVAL_APPROVAL_SCHEMA = `
create table removal_approval (
  instance_id text primary key,
  incarnation integer not null,
  number integer not null,
  at integer not null
) strict`;

/** Of one instance the last one counts. */
export function put(store: Store, instanceId: string, generation: Generation, at: number): void {
  store.run(
    "insert or replace into removal_approval values (?, ?, ?, ?)",
    instanceId,
    generation.incarnation,
    generation.number,
    at,
  );
}

export function isApproved(
  store: Store,
  instanceId: string,
  { incarnation, number }: Generation,
): boolean {
  const row = store.get(
    "select 1 from removal_approval where instance_id = ? and incarnation = ? and number = ?",
    instanceId,
    incarnation,
    number,
  );
  return row !== undefined;
}
