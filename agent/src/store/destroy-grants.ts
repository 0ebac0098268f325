/**
 * Permissions to destroy data, each written before anything is destroyed: by an order of the vendor or by the customer on
 * this host. One that was used stays known for longer than any order is good, so that none is done twice.
 */
import { compareGenerations, type Generation } from "@holdfast/shared/generation.ts";
import type { Store } from "./database.ts";

export const DESTROY_GRANT_SCHEMA = `
create table destroy_grant (
  -- Digest of the order's payload, or the id of a local approval.
  id text primary key,
  instance_id text not null,
  incarnation integer not null,
  number integer not null,
  -- JSON; an empty list stands for all.
  names text not null,
  granted_by text not null,
  at integer not null,
  used_at integer
) strict;
create index destroy_grant_instance on destroy_grant (instance_id, at)`;

/** Of one instance, oldest first. */
const OPEN_GRANTS_MAX = 100;
/** Twice as long as an order may be good. */
const GRANT_LIFE_MS = 60 * 86_400_000;

export type DestroyGrant = Readonly<{
  id: string;
  instanceId: string;
  generation: Generation;
  /** Empty: all. */
  names: readonly string[];
  grantedBy: string;
  at: number;
  /** What it permits was done, and it permits nothing more. */
  usedAt: number | undefined;
}>;

type Row = Readonly<{
  id: string;
  instance_id: string;
  incarnation: bigint;
  number: bigint;
  names: string;
  granted_by: string;
  at: bigint;
  used_at: bigint | null;
}>;

function grantOf(row: Row): DestroyGrant {
  return {
    id: row.id,
    instanceId: row.instance_id,
    generation: { incarnation: row.incarnation, number: row.number },
    names: JSON.parse(row.names) as string[],
    grantedBy: row.granted_by,
    at: Number(row.at),
    usedAt: row.used_at === null ? undefined : Number(row.used_at),
  };
}

export function find(store: Store, id: string): DestroyGrant | undefined {
  const row = store.get<Row>("select * from destroy_grant where id = ?", id);
  return row && grantOf(row);
}

/** Those of a generation that were not used up. */
export function listOpen(
  store: Store,
  instanceId: string,
  generation: Generation,
): readonly DestroyGrant[] {
  return store
    .all<Row>(
      "select * from destroy_grant where instance_id = ? and used_at is null order by at limit ?",
      instanceId,
      OPEN_GRANTS_MAX,
    )
    .map(grantOf)
    .filter((grant) => compareGenerations(grant.generation, generation) === 0);
}

/** One that is known already stays as it is. */
export function add(store: Store, grant: Omit<DestroyGrant, "usedAt">): void {
  store.run("delete from destroy_grant where at < ?", grant.at - GRANT_LIFE_MS);
  store.run(
    `insert into destroy_grant (id, instance_id, incarnation, number, names, granted_by, at)
     values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
    grant.id,
    grant.instanceId,
    grant.generation.incarnation,
    grant.generation.number,
    JSON.stringify(grant.names),
    grant.grantedBy,
    grant.at,
  );
}

export function markUsed(store: Store, id: string, at: number): void {
  store.run("update destroy_grant set used_at = ? where id = ? and used_at is null", at, id);
}
