/**
 * Table hub_secret: the hub's private keys, wrapped before they come here. Those of one vendor are written in
 * that vendor's context, those of the hub itself in the hub's.
 */
import type { Tx } from "./tx.ts";

export type HubSecretRow = Readonly<{
  name: string;
  version: bigint;
  wrapped: Uint8Array;
  createdAt: Date;
}>;

/** False when this version is there already: another hub was faster, read its one. */
export async function insert(tx: Tx, secret: Omit<HubSecretRow, "createdAt">): Promise<boolean> {
  const rows = await tx.query(
    `insert into hub_secret (name, version, wrapped) values ($1, $2, $3)
     on conflict (vendor_id, tenant_id, name, version) do nothing returning name`,
    [secret.name, secret.version, secret.wrapped],
  );
  return rows.length === 1;
}

/** Deletes the versions below this one. */
export async function forget(tx: Tx, name: string, below: bigint): Promise<void> {
  await tx.query("delete from hub_secret where name = $1 and version < $2", [name, below]);
}

/** Not retired, newest first. */
export function list(tx: Tx, name: string): Promise<HubSecretRow[]> {
  return tx.query<HubSecretRow>(
    `select name, version, wrapped, created_at as "createdAt" from hub_secret
      where name = $1 and retired_at is null order by version desc limit 100`,
    [name],
  );
}

export async function newest(tx: Tx, name: string): Promise<HubSecretRow | undefined> {
  const rows = await list(tx, name);
  return rows[0];
}
