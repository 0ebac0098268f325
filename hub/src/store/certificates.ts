/** Table agent_certificate: the serial numbers that were issued, the register that fences forgeries. */
import type { Tx } from "./tx.ts";

export type CertificateRow = Readonly<{
  tenantId: string;
  cellId: string;
  agentId: string;
  /** Lower-case hex. */
  serial: string;
  fencing: bigint;
  notBefore: Date;
  notAfter: Date;
  revokedAt: Date | null;
}>;

const COLUMNS = `tenant_id as "tenantId", cell_id as "cellId", agent_id as "agentId", serial, fencing,
  not_before as "notBefore", not_after as "notAfter", revoked_at as "revokedAt"`;

export async function insert(
  tx: Tx,
  certificate: Omit<CertificateRow, "revokedAt">,
): Promise<void> {
  await tx.query(
    `insert into agent_certificate (tenant_id, cell_id, agent_id, serial, fencing, not_before, not_after)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      certificate.tenantId,
      certificate.cellId,
      certificate.agentId,
      certificate.serial,
      certificate.fencing,
      certificate.notBefore,
      certificate.notAfter,
    ],
  );
}

/** Those of the agents that have one of the serial numbers. */
export function list(
  tx: Tx,
  agentIds: readonly string[],
  serials: readonly string[],
): Promise<CertificateRow[]> {
  return tx.query<CertificateRow>(
    `select ${COLUMNS} from agent_certificate
      where agent_id = any ($1::uuid[]) and serial = any ($2::text[])`,
    [agentIds, serials],
  );
}

/** The one that lasts longest, for each of the agents. */
export function listNewest(tx: Tx, agentIds: readonly string[]): Promise<CertificateRow[]> {
  return tx.query<CertificateRow>(
    `select distinct on (agent_id) ${COLUMNS} from agent_certificate
      where agent_id = any ($1::uuid[]) and revoked_at is null order by agent_id, not_after desc`,
    [agentIds],
  );
}

export async function revokeOfAgent(tx: Tx, agentId: string): Promise<void> {
  await tx.query(
    "update agent_certificate set revoked_at = now() where agent_id = $1 and revoked_at is null",
    [agentId],
  );
}

/** Deletes those that expired more than 60 days ago (35 of them may still renew); returns how many. */
export async function prune(tx: Tx, limit: number): Promise<number> {
  const rows = await tx.query(
    `delete from agent_certificate where (agent_id, serial) in (
       select agent_id, serial from agent_certificate
        where not_after < now() - interval '60 days' limit $1) returning 1`,
    [limit],
  );
  return rows.length;
}
