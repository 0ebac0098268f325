/** Table agent_session: which hub process holds an agent's link. One row for each agent, none for heartbeats. */
import { Fault } from "@holdfast/shared/fault.ts";
import type { Tx } from "./tx.ts";

export type SessionRow = Readonly<{
  agentId: string;
  cellId: string;
  session: bigint;
  replica: string;
  openedAt: Date;
  closedAt: Date | null;
}>;

const COLUMNS = `agent_id as "agentId", cell_id as "cellId", session, replica, opened_at as "openedAt",
  closed_at as "closedAt"`;

/**
 * For each agent a session number above all before it; what older sessions write is refused from now on. Agents that
 * are not there get none.
 */
export function open(tx: Tx, agentIds: readonly string[], replica: string): Promise<SessionRow[]> {
  // In one order, so that two transactions never wait for each other.
  return tx.query<SessionRow>(
    `insert into agent_session as s (tenant_id, cell_id, agent_id, session, replica)
     select tenant_id, cell_id, id, 1, $2 from agent
      where id = any ($1::uuid[]) and gone_at is null order by id
     on conflict (vendor_id, tenant_id, agent_id) do update
       set session = s.session + 1, replica = $2, opened_at = now(), closed_at = null
     returning ${COLUMNS}`,
    [agentIds, replica],
  );
}

/** False when a newer session has taken over; then nothing is changed. */
export async function close(tx: Tx, agentId: string, session: bigint): Promise<boolean> {
  const rows = await tx.query(
    `update agent_session set closed_at = now()
      where agent_id = $1 and session = $2 and closed_at is null returning 1`,
    [agentId, session],
  );
  if (rows.length > 0) await tx.query("update agent set seen_at = now() where id = $1", [agentId]);
  return rows.length > 0;
}

/**
 * Locks the session and the cell's fencing number until the transaction ends, so that whatever it writes was written
 * before a takeover. Throws PERMISSION_DENIED `AGENT_FENCED`, and ABORTED `SESSION_OLD` for any session but the present.
 */
export async function guard(tx: Tx, agentId: string, session: bigint): Promise<void> {
  const [row] = await tx.query<{ active: boolean; present: boolean }>(
    `select a.fencing = c.fencing as active, s.session = $2 and s.closed_at is null as present
       from agent_session s
       join agent a on a.vendor_id = s.vendor_id and a.id = s.agent_id
       join cell c on c.vendor_id = a.vendor_id and c.id = a.cell_id
      where s.agent_id = $1 for share of s, c`,
    [agentId, session],
  );
  if (row?.active === false) throw fenced();
  if (row?.present !== true) {
    throw new Fault("ABORTED", "SESSION_OLD", "a newer session of this agent has taken over");
  }
}

/** What an agent is told that another one has taken over from. */
export function fenced(): Fault {
  return new Fault(
    "PERMISSION_DENIED",
    "AGENT_FENCED",
    "another agent has taken over this cell; this one may only deliver the usage that it still has",
    { next: "holdfast get agents" },
  );
}

/** At the start of a hub process: what it held in an earlier life is closed. Returns how many. */
export async function closeOfReplica(tx: Tx, replica: string): Promise<number> {
  const rows = await tx.query(
    "update agent_session set closed_at = now() where replica = $1 and closed_at is null returning 1",
    [replica],
  );
  return rows.length;
}

export function listOfAgents(tx: Tx, agentIds: readonly string[]): Promise<SessionRow[]> {
  return tx.query<SessionRow>(
    `select ${COLUMNS} from agent_session where agent_id = any ($1::uuid[])`,
    [agentIds],
  );
}

/** Cells whose agents are connected to this hub process. */
export async function cellsOfReplica(tx: Tx, replica: string): Promise<readonly string[]> {
  const rows = await tx.query<{ cellId: string }>(
    `select distinct cell_id as "cellId" from agent_session where replica = $1 and closed_at is null`,
    [replica],
  );
  return rows.map(({ cellId }) => cellId);
}
