/**
 * What people have accepted of drift: of one resource the digest of its differences, until it changes again or another
 * generation is committed. And the salt by which values that hold secrets are told apart without being told.
 */
import type { Generation } from "@holdfast/shared/generation.ts";
import { LIST_ROWS_MAX, type Store } from "./database.ts";

export type Adoption = Readonly<{
  resourceId: string;
  /** That served then. */
  generation: Generation;
  /** Of the differences, all of them. */
  digest: string;
}>;

type Row = Readonly<{ resourceId: string; incarnation: bigint; number: bigint; digest: string }>;

export function list(store: Store, instanceId: string): readonly Adoption[] {
  return store.kept(instanceId, "drift_adoption", () =>
    store
      .all<Row>(
        `select resource_id as "resourceId", incarnation, number, digest from drift_adoption
          where instance_id = ? order by resource_id limit ?`,
        instanceId,
        LIST_ROWS_MAX,
      )
      .map(({ resourceId, incarnation, number, digest }) => {
        return { resourceId, digest, generation: { incarnation, number } };
      }),
  );
}

export function put(store: Store, instanceId: string, adoption: Adoption, at: number): void {
  const { resourceId, generation, digest } = adoption;
  store.run(
    `insert or replace into drift_adoption (instance_id, resource_id, incarnation, number, digest, at)
     values (?, ?, ?, ?, ?, ?)`,
    ...[instanceId, resourceId, generation.incarnation, generation.number, digest, at],
  );
}

export function forget(store: Store, instanceId: string, resourceId: string): void {
  store.run(
    "delete from drift_adoption where instance_id = ? and resource_id = ?",
    instanceId,
    resourceId,
  );
}

/** Of this store, for ever. */
export function salt(store: Store): Uint8Array {
  return store.keptShared("drift salt", () => {
    const row = store.get<{ salt: Uint8Array }>("select salt from drift_salt");
    return row?.salt ?? new Uint8Array();
  });
}
