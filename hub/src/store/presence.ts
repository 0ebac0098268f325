/** Which agent is active in a cell and whether it is connected: tables agent and agent_session together. */
import type { Tx } from "./tx.ts";

export type Presence = Readonly<{
  cellId: string;
  /** Empty where the caller may not see the agent. */
  agentName: string;
  connected: boolean;
  /** Since when; null if that is not known. */
  since: Date | null;
}>;

/** How many cells have an active agent, and of how many it has been away for longer than `ms`. */
export async function countAbsent(
  tx: Tx,
  ms: number,
): Promise<Readonly<{ agents: number; absent: number }>> {
  const [row] = await tx.query<{ agents: number; absent: number }>(
    `select count(*)::int as agents,
            count(*) filter (where s.closed_at < now() - make_interval(secs => $1 / 1000.0))::int
              as absent
       from agent a
       join cell c on c.vendor_id = a.vendor_id and c.id = a.cell_id and c.fencing = a.fencing
       join agent_session s on s.vendor_id = a.vendor_id and s.agent_id = a.id
      where a.gone_at is null`,
    [ms],
  );
  return row ?? { agents: 0, absent: 0 };
}

/** Cells without an agent are absent. A tenant learns of a hosted cell only whether its own instances' agent is connected. */
export async function ofCells(
  tx: Tx,
  cellIds: readonly string[],
): Promise<ReadonlyMap<string, Presence>> {
  const wanted = [[...new Set(cellIds)]];
  const seen = await tx.query<Presence>(
    `select distinct on (a.cell_id) a.cell_id as "cellId", a.name as "agentName",
            coalesce(s.agent_id is not null and s.closed_at is null, false) as connected,
            coalesce(s.closed_at, s.opened_at, a.created_at) as since
       from agent a
       left join agent_session s on s.vendor_id = a.vendor_id and s.agent_id = a.id
      where a.cell_id = any ($1::uuid[]) and a.gone_at is null
      order by a.cell_id, a.fencing desc`,
    wanted,
  );
  const found = new Map(seen.map((each) => [each.cellId, each]));
  if (found.size === wanted[0]?.length) return found;
  const told = await tx.query<{ cellId: string; connected: boolean; since: Date | null }>(
    `select cell_id as "cellId", bool_or(connected) as connected, max(reported_at) as since
       from seat_instance where cell_id = any ($1::uuid[]) and connected is not null group by cell_id`,
    wanted,
  );
  for (const each of told) {
    if (!found.has(each.cellId)) found.set(each.cellId, { ...each, agentName: "" });
  }
  return found;
}
