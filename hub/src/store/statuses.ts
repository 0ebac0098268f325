/** Table instance_status: an agent's latest word on each instance. */
import type { Generation } from "@holdfast/shared/generation.ts";
import type { Tx } from "./tx.ts";

/** As stored and as shown: status True, False or Unknown. */
export type StoredCondition = Readonly<{
  type: string;
  status: string;
  reason: string;
  message: string;
  /** RFC 3339. */
  lastTransitionTime: string;
}>;

export type StatusRow = Readonly<{
  instanceId: string;
  cellId: string;
  /** A serialised holdfast.model.v1.InstanceStatus. */
  report: Uint8Array;
  observed: Generation;
  committed: Generation;
  committedRelease: string;
  conditions: readonly StoredCondition[];
  outputs: Readonly<Record<string, unknown>>;
  removed: boolean;
  agentId: string;
  session: bigint;
  reportedAt: Date;
  revision: bigint;
}>;

/**
 * Keeps the report of a session that is not older than the one that reported last. Returns false, and
 * changes nothing, when it is older or the instance is not in the caller's cell.
 */
export async function replace(
  tx: Tx,
  status: Omit<StatusRow, "revision" | "cellId">,
): Promise<boolean> {
  const rows = await tx.query(
    `insert into instance_status as s (tenant_id, cell_id, instance_id, report, observed_incarnation,
       observed_number, committed_incarnation, committed_number, committed_release, conditions, outputs,
       removed, agent_id, session, reported_at)
     select i.tenant_id, i.cell_id, i.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
       from instance i where i.id = $1 and i.gone_at is null
     on conflict (vendor_id, tenant_id, instance_id) do update
       set cell_id = excluded.cell_id, report = excluded.report,
           observed_incarnation = excluded.observed_incarnation, observed_number = excluded.observed_number,
           committed_incarnation = excluded.committed_incarnation,
           committed_number = excluded.committed_number, committed_release = excluded.committed_release,
           conditions = excluded.conditions, outputs = excluded.outputs, removed = excluded.removed,
           agent_id = excluded.agent_id, session = excluded.session, reported_at = excluded.reported_at,
           revision = s.revision + 1
     where s.agent_id <> excluded.agent_id or s.session <= excluded.session
     returning 1`,
    [
      status.instanceId,
      status.report,
      status.observed.incarnation,
      status.observed.number,
      status.committed.incarnation,
      status.committed.number,
      status.committedRelease,
      JSON.stringify(status.conditions),
      JSON.stringify(status.outputs),
      status.removed,
      status.agentId,
      status.session,
      status.reportedAt,
    ],
  );
  return rows.length > 0;
}

type Flat = Omit<StatusRow, "observed" | "committed"> &
  Readonly<{ oi: bigint; oNumber: bigint; ci: bigint; cNumber: bigint }>;

export async function list(tx: Tx, instanceIds: readonly string[]): Promise<readonly StatusRow[]> {
  const rows = await tx.query<Flat>(
    `select instance_id as "instanceId", cell_id as "cellId", report, observed_incarnation as oi,
            observed_number as "oNumber", committed_incarnation as ci, committed_number as "cNumber",
            committed_release as "committedRelease", conditions, outputs, removed, agent_id as "agentId",
            session, reported_at as "reportedAt", revision
       from instance_status where instance_id = any ($1::uuid[])`,
    [instanceIds],
  );
  return rows.map(({ oi, oNumber, ci, cNumber, ...rest }) => ({
    ...rest,
    observed: { incarnation: oi, number: oNumber },
    committed: { incarnation: ci, number: cNumber },
  }));
}

export async function get(tx: Tx, instanceId: string): Promise<StatusRow | undefined> {
  const rows = await list(tx, [instanceId]);
  return rows[0];
}
