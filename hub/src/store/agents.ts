/** Table agent beyond what all objects have (objects.ts): joining, and what agents say of themselves. */
import type { Tx } from "./tx.ts";

/** Agents of one cell, retired ones left out. */
const CELL_AGENTS_MAX = 100;

export type Capability = Readonly<{ name: string; available: boolean; reason: string }>;

export type AgentRow = Readonly<{
  id: string;
  /** Owner of the cell; nil for a hosted one. */
  tenantId: string;
  cellId: string;
  name: string;
  fencing: bigint;
  /** Raw Ed25519 public key. */
  identityKey: Uint8Array;
  /** What secrets for it are sealed to: a serialised envelope, signed by the identity key. */
  sealingKey: Uint8Array | null;
  hostName: string;
  version: string;
  platform: string;
  capabilities: readonly Capability[];
  bootId: string;
  /** Of its processes, the one that said hello last at the end. */
  lives: readonly Readonly<{ id: string; returns: number }>[];
  /** Two processes had its identity at once. */
  frozenAt: Date | null;
  /** When its owner was last told that it tried to act although it was fenced. */
  refusedAt: Date | null;
  seenAt: Date | null;
  deletedAt: Date | null;
  revision: bigint;
}>;

const COLUMNS = `id, tenant_id as "tenantId", cell_id as "cellId", name, fencing,
  identity_key as "identityKey", sealing_key as "sealingKey", host_name as "hostName", version, platform, capabilities,
  boot_id as "bootId", lives, frozen_at as "frozenAt", refused_at as "refusedAt", seen_at as "seenAt",
  deleted_at as "deletedAt", revision`;

export async function insert(
  tx: Tx,
  agent: Pick<
    AgentRow,
    "id" | "tenantId" | "cellId" | "name" | "fencing" | "identityKey" | "hostName" | "version"
  >,
): Promise<void> {
  await tx.query(
    `insert into agent (tenant_id, id, cell_id, name, fencing, identity_key, host_name, version)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      agent.tenantId,
      agent.id,
      agent.cellId,
      agent.name,
      agent.fencing,
      agent.identityKey,
      agent.hostName,
      agent.version,
    ],
  );
}

export async function get(tx: Tx, id: string): Promise<AgentRow | undefined> {
  const [row] = await list(tx, [id]);
  return row;
}

/** Those that are visible and not gone, in no order. */
export function list(tx: Tx, ids: readonly string[]): Promise<AgentRow[]> {
  return tx.query<AgentRow>(
    `select ${COLUMNS} from agent where id = any ($1::uuid[]) and gone_at is null`,
    [ids],
  );
}

/** The active one (highest fencing number) first. At most 100. */
export function listOfCell(tx: Tx, cellId: string): Promise<AgentRow[]> {
  return tx.query<AgentRow>(
    `select ${COLUMNS} from agent where cell_id = $1 and gone_at is null
      order by fencing desc limit ${CELL_AGENTS_MAX}`,
    [cellId],
  );
}

/** Fencing number of the active agent of each cell; of agents that the caller may see. */
export async function newestFencing(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlyMap<string, bigint>> {
  const rows = await tx.query<{ cellId: string; fencing: bigint }>(
    `select cell_id as "cellId", max(fencing) as fencing from agent
      where cell_id = any ($1::uuid[]) and gone_at is null group by cell_id`,
    [[...new Set(cellIds)]],
  );
  return new Map(rows.map(({ cellId, fencing }) => [cellId, fencing]));
}

/** When the next agent of its cell joined, also one that has gone; undefined for the newest. */
export async function fencedAt(
  tx: Tx,
  { cellId, fencing }: Pick<AgentRow, "cellId" | "fencing">,
): Promise<Date | undefined> {
  const [row] = await tx.query<{ at: Date | null }>(
    "select min(created_at) as at from agent where cell_id = $1 and fencing > $2",
    [cellId, fencing],
  );
  return row?.at ?? undefined;
}

export async function active(tx: Tx, cellId: string): Promise<AgentRow | undefined> {
  const rows = await listOfCell(tx, cellId);
  return rows[0];
}

/** The caller has checked the signature. */
export async function replaceSealingKey(tx: Tx, agentId: string, key: Uint8Array): Promise<void> {
  const sql = "update agent set sealing_key = $2 where id = $1 and gone_at is null";
  await tx.query(sql, [agentId, key]);
}

/** Those of these cells that are frozen and not fenced besides. */
export function listFrozen(tx: Tx, cellIds: readonly string[]): Promise<AgentRow[]> {
  return tx.query<AgentRow>(
    `select ${COLUMNS} from agent a
      where cell_id = any ($1::uuid[]) and gone_at is null and frozen_at is not null
        and fencing = (select c.fencing from cell c where c.vendor_id = a.vendor_id and c.id = a.cell_id)`,
    [cellIds],
  );
}

/** For good: only another agent of the cell is let in again. */
export async function freeze(tx: Tx, id: string, lives: AgentRow["lives"]): Promise<void> {
  await tx.query(
    `update agent set frozen_at = now(), lives = $2
      where id = $1 and frozen_at is null and gone_at is null`,
    [id, JSON.stringify(lives)],
  );
}

export async function noteRefused(tx: Tx, ids: readonly string[], at: Date): Promise<void> {
  await tx.query("update agent set refused_at = $2 where id = any ($1::uuid[])", [ids, at]);
}

export type SaidHello = Pick<
  AgentRow,
  "id" | "version" | "platform" | "capabilities" | "bootId" | "lives"
>;

/** What agents' hellos say of them. Leaves the revisions alone, since nobody edits these. */
export async function noteHellos(tx: Tx, hellos: readonly SaidHello[]): Promise<void> {
  const ids = hellos.map(({ id }) => id);
  // The second condition leads to the index; the planner would read all agents of the vendor for each hello.
  await tx.query(
    `update agent a
        set version = h.version, platform = h.platform, capabilities = h.capabilities,
            boot_id = h.boot_id, lives = h.lives, seen_at = now()
       from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::text[], $6::jsonb[])
            as h (id, version, platform, capabilities, boot_id, lives)
      where a.id = h.id and a.id = any ($1::uuid[]) and a.gone_at is null`,
    [
      ids,
      hellos.map(({ version }) => version),
      hellos.map(({ platform }) => platform),
      hellos.map(({ capabilities }) => JSON.stringify(capabilities)),
      hellos.map(({ bootId }) => bootId),
      hellos.map(({ lives }) => JSON.stringify(lives)),
    ],
  );
}
