/**
 * Sealed secrets as they came from the hub, and the key that opens them. Nothing here is ever opened: a value is
 * in memory alone, for as long as a step needs it.
 */
import type { SealingIdentity } from "@holdfast/shared/sealing.ts";
import type { Store } from "./database.ts";

export const SECRETS_SCHEMA = [
  `create table sealing_identity (
    id integer primary key check (id = 1),
    identity text not null,
    recipient text not null
  ) strict`,
  // Of the wanted and the committed generation.
  `create table secret (
    instance_id text not null,
    digest text not null,
    name text not null,
    version integer not null,
    sealed blob not null,
    stored_at integer not null,
    primary key (instance_id, digest)
  ) strict`,
].join(";\n");

export type HeldSecret = Readonly<{
  instanceId: string;
  /** Of the sealed bytes. */
  digest: string;
  name: string;
  version: bigint;
  sealed: Uint8Array;
}>;

export function findSealingIdentity(store: Store): SealingIdentity | undefined {
  return store.get<SealingIdentity>(
    "select identity, recipient from sealing_identity where id = 1",
  );
}

/** Kept for the agent's life: what is sealed to one key opens with no other. */
export function putSealingIdentity(store: Store, { identity, recipient }: SealingIdentity): void {
  store.run(
    "insert into sealing_identity (id, identity, recipient) values (1, ?, ?) on conflict do nothing",
    identity,
    recipient,
  );
}

export function isHeld(store: Store, instanceId: string, digest: string): boolean {
  const sql = "select 1 as held from secret where instance_id = ? and digest = ?";
  return store.get(sql, instanceId, digest) !== undefined;
}

export function findSealed(
  store: Store,
  instanceId: string,
  digest: string,
): Uint8Array | undefined {
  const sql = "select sealed from secret where instance_id = ? and digest = ?";
  return store.get<{ sealed: Uint8Array }>(sql, instanceId, digest)?.sealed;
}

export function put(store: Store, secret: HeldSecret, at: number): void {
  store.run(
    `insert into secret (instance_id, digest, name, version, sealed, stored_at)
     values (?, ?, ?, ?, ?, ?) on conflict do nothing`,
    secret.instanceId,
    secret.digest,
    secret.name,
    secret.version,
    secret.sealed,
    at,
  );
}

/** Removes all of the instance but those with these digests. */
export function keepOnly(store: Store, instanceId: string, digests: readonly string[]): void {
  store.run(
    `delete from secret where instance_id = ?
        and digest not in (select value from json_each(?))`,
    instanceId,
    JSON.stringify(digests),
  );
}
