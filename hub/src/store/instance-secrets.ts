/** Table instance_secret: sealed bytes by instance, name and version. Nothing here can be read by the hub. */
import type { Tx } from "./tx.ts";

/** Of one secret: the one that is wanted, and the one before, for an agent that is just fetching it. */
export const VERSIONS_KEPT = 2;
/** Names in one list; as many as a release may declare. */
const NAMES_MAX = 50;

export type SecretRow = Readonly<{
  name: string;
  version: bigint;
  agentId: string;
  /** Of the sealed bytes. */
  digest: string;
  setBy: string;
  setAt: Date;
}>;

export type NewSecret = Omit<SecretRow, "setAt"> &
  Readonly<{ instanceId: string; agentTenantId: string; sealed: Uint8Array }>;

/** Owner and cell are the instance's. Throws ALREADY_EXISTS if the version is taken. */
export async function insert(tx: Tx, secret: NewSecret): Promise<SecretRow> {
  const rows = await tx.query<SecretRow>(
    `insert into instance_secret (tenant_id, cell_id, instance_id, name, version, agent_id,
       agent_tenant_id, digest, sealed, set_by)
     select i.tenant_id, i.cell_id, i.id, $2, $3, $4, $5, $6, $7, $8
       from instance i where i.id = $1 and i.gone_at is null
     returning name, version, agent_id as "agentId", digest, set_by as "setBy", set_at as "setAt"`,
    [
      secret.instanceId,
      secret.name,
      secret.version,
      secret.agentId,
      secret.agentTenantId,
      secret.digest,
      secret.sealed,
      secret.setBy,
    ],
  );
  const [row] = rows;
  if (row === undefined) throw new RangeError("the caller has locked the instance");
  return row;
}

/** The newest of each name, by name. */
export function listNewest(tx: Tx, instanceId: string): Promise<SecretRow[]> {
  return tx.query<SecretRow>(
    `select distinct on (name) name, version, agent_id as "agentId", digest, set_by as "setBy",
            set_at as "setAt"
       from instance_secret where instance_id = $1
      order by name, version desc limit ${NAMES_MAX}`,
    [instanceId],
  );
}

/** Removes versions that nobody fetches any more; the newest ones stay, so that no version is given twice. */
export async function prune(
  tx: Tx,
  secret: Readonly<{ instanceId: string; name: string; newest: bigint }>,
): Promise<void> {
  await tx.query(
    "delete from instance_secret where instance_id = $1 and name = $2 and version <= $3",
    [secret.instanceId, secret.name, secret.newest - BigInt(VERSIONS_KEPT)],
  );
}

/** What is sealed to this agent; undefined for any other one. */
export async function sealedFor(
  tx: Tx,
  secret: Readonly<{
    cellId: string;
    instanceId: string;
    name: string;
    version: bigint;
    agentId: string;
  }>,
): Promise<Uint8Array | undefined> {
  const rows = await tx.query<{ sealed: Uint8Array }>(
    `select sealed from instance_secret
      where cell_id = $1 and instance_id = $2 and name = $3 and version = $4 and agent_id = $5`,
    [secret.cellId, secret.instanceId, secret.name, secret.version, secret.agentId],
  );
  return rows[0]?.sealed;
}

export type SealingKeyRow = Readonly<{
  id: string;
  tenantId: string;
  name: string;
  /** Raw Ed25519 public key. */
  identityKey: Uint8Array;
  /** A serialised holdfast.model.v1.Envelope; null from an agent that announced none. */
  sealingKey: Uint8Array | null;
}>;

/** Of the cell's active agent, also where the vendor owns the cell. */
export async function activeSealingKey(tx: Tx, cellId: string): Promise<SealingKeyRow | undefined> {
  const rows = await tx.query<SealingKeyRow>(
    `select id, tenant_id as "tenantId", name, identity_key as "identityKey",
            sealing_key as "sealingKey"
       from visible_sealing_key where cell_id = $1 order by fencing desc limit 1`,
    [cellId],
  );
  return rows[0];
}

/** Names of agents by id, as far as the caller may know of them. */
export async function agentNames(
  tx: Tx,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.query<{ id: string; name: string }>(
    `select id, name from visible_sealing_key where id = any ($1::uuid[]) limit ${NAMES_MAX}`,
    [ids],
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}
