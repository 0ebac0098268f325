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

/** A session of an agent; the fencing number is the one that its certificate proves. */
export type Speaker = Readonly<{
  agentId: string;
  cellId: string;
  fencing: bigint;
  session: bigint;
}>;

/** Agents whose sessions are closed by this. Those that a newer session has taken over from are left alone. */
export async function closeAll(
  tx: Tx,
  speakers: readonly Pick<Speaker, "agentId" | "session">[],
): Promise<readonly string[]> {
  const agentIds = speakers.map(({ agentId }) => agentId);
  // In one order, so that two transactions never wait for each other.
  const lock = tx.query(
    "select 1 from agent_session where agent_id = any ($1::uuid[]) order by agent_id for update",
    [agentIds],
  );
  const close = tx.query<{ agentId: string }>(
    `update agent_session s set closed_at = now()
       from unnest($1::uuid[], $2::bigint[]) as e (agent_id, session)
      where s.agent_id = any ($1::uuid[]) and s.agent_id = e.agent_id and s.session = e.session
        and s.closed_at is null
      returning s.agent_id as "agentId"`,
    [agentIds, speakers.map(({ session }) => session)],
  );
  const [, rows] = await Promise.all([lock, close]);
  const closed = rows.map(({ agentId }) => agentId);
  await tx.query("update agent set seen_at = now() where id = any ($1::uuid[])", [closed]);
  return closed;
}

/**
 * Locks the sessions and their cells' fencing numbers until the transaction ends, so that whatever it writes was
 * written before a takeover. In the order of the speakers, what is wrong with each: PERMISSION_DENIED `AGENT_FENCED`,
 * and ABORTED `SESSION_OLD` for any session but the present.
 */
export async function guardAll(
  tx: Tx,
  speakers: readonly Speaker[],
): Promise<readonly (Fault | undefined)[]> {
  // In one order, so that two transactions never wait for each other.
  const [rows, cells] = await Promise.all([
    tx.query<{ agentId: string; session: bigint; isOpen: boolean }>(
      `select agent_id as "agentId", session, closed_at is null as "isOpen" from agent_session
        where agent_id = any ($1::uuid[]) order by agent_id for share`,
      [speakers.map(({ agentId }) => agentId)],
    ),
    tx.query<{ id: string; fencing: bigint }>(
      "select id, fencing from cell where id = any ($1::uuid[]) order by id for share",
      [[...new Set(speakers.map(({ cellId }) => cellId))]],
    ),
  ]);
  const present = new Map(rows.map((each) => [each.agentId, each]));
  const newest = new Map(cells.map(({ id, fencing }) => [id, fencing]));
  return speakers.map(({ agentId, cellId, fencing, session }) => {
    const active = newest.get(cellId);
    if (active !== undefined && active !== fencing) return fenced();
    const row = present.get(agentId);
    if (active !== undefined && row?.session === session && row.isOpen) return undefined;
    return new Fault("ABORTED", "SESSION_OLD", "a newer session of this agent has taken over");
  });
}

/** As `guardAll` for one; throws what is wrong. */
export async function guard(tx: Tx, speaker: Speaker): Promise<void> {
  const [fault] = await guardAll(tx, [speaker]);
  if (fault !== undefined) throw fault;
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

/** What an agent is told that was seen twice; see docs/takeover.md. */
export function frozen(cell: string): Fault {
  return new Fault(
    "PERMISSION_DENIED",
    "IDENTITY_FROZEN",
    "two processes have this agent's identity, as after a copy of its disk or directory; neither is let in until " +
      "another agent takes over",
    { next: `holdfast cell takeover ${cell}` },
  );
}

/** What the present session of the agent would still write is refused; there is no new one. */
export async function revoke(tx: Tx, agentId: string): Promise<void> {
  await tx.query(
    `update agent_session set session = session + 1, closed_at = coalesce(closed_at, now())
      where agent_id = $1`,
    [agentId],
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
