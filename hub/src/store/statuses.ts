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

export type NewStatus = Omit<StatusRow, "revision"> & Readonly<{ tenantId: string }>;

/**
 * Keeps the reports of sessions that are not older than those that reported last; one of each instance at most.
 * Returns the instances whose reports were kept.
 */
export async function replaceAll(tx: Tx, rows: readonly NewStatus[]): Promise<ReadonlySet<string>> {
  const column = <T>(of: (row: NewStatus) => T) => rows.map(of);
  // In one order, so that two transactions never wait for each other.
  const kept = await tx.query<{ instanceId: string }>(
    `insert into instance_status as s (tenant_id, cell_id, instance_id, report, observed_incarnation,
       observed_number, committed_incarnation, committed_number, committed_release, conditions, outputs,
       removed, agent_id, session, reported_at)
     select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bytea[], $5::bigint[], $6::bigint[],
       $7::bigint[], $8::bigint[], $9::text[], $10::jsonb[], $11::jsonb[], $12::boolean[], $13::uuid[],
       $14::bigint[], $15::timestamptz[]) as r (tenant_id, cell_id, instance_id) order by r.instance_id
     on conflict (vendor_id, tenant_id, instance_id) do update
       set cell_id = excluded.cell_id, report = excluded.report,
           observed_incarnation = excluded.observed_incarnation, observed_number = excluded.observed_number,
           committed_incarnation = excluded.committed_incarnation,
           committed_number = excluded.committed_number, committed_release = excluded.committed_release,
           conditions = excluded.conditions, outputs = excluded.outputs, removed = excluded.removed,
           agent_id = excluded.agent_id, session = excluded.session, reported_at = excluded.reported_at,
           revision = s.revision + 1
     where s.agent_id <> excluded.agent_id or s.session <= excluded.session
     returning s.instance_id as "instanceId"`,
    [
      column(({ tenantId }) => tenantId),
      column(({ cellId }) => cellId),
      column(({ instanceId }) => instanceId),
      column(({ report }) => report),
      column(({ observed }) => observed.incarnation),
      column(({ observed }) => observed.number),
      column(({ committed }) => committed.incarnation),
      column(({ committed }) => committed.number),
      column(({ committedRelease }) => committedRelease),
      column(({ conditions }) => JSON.stringify(conditions)),
      column(({ outputs }) => JSON.stringify(outputs)),
      column(({ removed }) => removed),
      column(({ agentId }) => agentId),
      column(({ session }) => session),
      column(({ reportedAt }) => reportedAt),
    ],
  );
  return new Set(kept.map(({ instanceId }) => instanceId));
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
