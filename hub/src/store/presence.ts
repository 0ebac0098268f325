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
