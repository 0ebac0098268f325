/**
 * Takes in what an agent says about its instances: the latest report is kept, conditions are folded, changes
 * become events, and an instance whose tombstone is executed is gone. Reports of other cells' instances are
 * dropped: the wall does not show them.
 */
import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { StatusReport } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import {
  AttemptState,
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { compareGenerations, formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import { type Condition, type ConditionWord, foldReport } from "../../domain/conditions.ts";
import type { AgentSession } from "../../link/port.ts";
import * as agents from "../../store/agents.ts";
import * as instances from "../../store/instances.ts";
import { INSTANCES } from "../../store/object-tables.ts";
import { find, type ObjectRow } from "../../store/objects.ts";
import * as sessions from "../../store/sessions.ts";
import * as statuses from "../../store/statuses.ts";
import { type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { type Actor, record } from "../event.ts";
import { contextOfAgent } from "./admission.ts";

const WORDS: Readonly<Record<ConditionStatus, ConditionWord>> = {
  [ConditionStatus.UNSPECIFIED]: "Unknown",
  [ConditionStatus.TRUE]: "True",
  [ConditionStatus.FALSE]: "False",
  [ConditionStatus.UNKNOWN]: "Unknown",
};
/** Longer messages are cut; what an agent says must not fill the database. */
const MESSAGE_CHARS_MAX = 2_000;

export async function statusReported(
  deps: AppDeps,
  session: AgentSession,
  { instances: reports }: StatusReport,
): Promise<void> {
  await withContext(deps.database, contextOfAgent(session), async (tx) => {
    await sessions.guard(tx, session.agentId, session.session);
    const agent = await agents.get(tx, session.agentId);
    const actor = { principal: `agent/${agent?.name ?? ""}`, permission: "", requestId: "" };
    for (const report of reports) await takeOne(deps, tx, session, actor, report);
  });
}

async function takeOne(
  deps: AppDeps,
  tx: Tx,
  session: AgentSession,
  actor: Actor,
  report: InstanceStatus,
): Promise<void> {
  const id = uuidOf("instance", report.instanceId, "status.instance_id");
  const [row] = await find(tx, INSTANCES, { id }, false);
  if (row === undefined) return;
  const before = await statuses.get(tx, id);
  const now = deps.clock.now();
  const kept = (before?.conditions ?? []) as readonly Condition[];
  const { conditions, changes } = foldReport(kept, saidIn(report), new Date(now).toISOString());
  const isNewest = await statuses.replace(tx, {
    instanceId: id,
    report: toBinary(InstanceStatusSchema, report),
    observed: generationOf(report.observedGeneration),
    committed: generationOf(report.committedGeneration),
    committedRelease: report.committedReleaseVersion,
    conditions,
    outputs: report.outputs ?? {},
    removed: report.removed,
    agentId: session.agentId,
    session: session.session,
    reportedAt: new Date(now),
  });
  if (!isNewest) return;
  if (changes.length > 0) {
    await record(tx, actor, now, {
      verb: "condition_changed",
      kind: "instance",
      subject: row,
      before: wordsOf(changes.flatMap((each) => each.before ?? [])),
      after: wordsOf(changes.map(({ after }) => after)),
    });
  }
  await recordAttempt(tx, actor, now, row, report, before);
  if (report.removed && isExecuted(row, report)) await finish(deps, tx, actor, row);
}

function saidIn({ conditions }: InstanceStatus) {
  return conditions.map(({ type, status, reason, message }) => ({
    type,
    status: WORDS[status] ?? "Unknown",
    reason,
    message: escapeControls(message).slice(0, MESSAGE_CHARS_MAX),
  }));
}

/** Type to status and reason. */
function wordsOf(conditions: readonly Condition[]): JsonObject {
  return Object.fromEntries(
    conditions.map(({ type, status, reason, message }) => [type, { status, reason, message }]),
  );
}

/** An attempt that began, or came to another state, since the last report. */
async function recordAttempt(
  tx: Tx,
  actor: Actor,
  now: number,
  row: ObjectRow,
  { attempt }: InstanceStatus,
  before: statuses.StatusRow | undefined,
): Promise<void> {
  if (attempt === undefined) return;
  const last = before && fromBinary(InstanceStatusSchema, before.report).attempt;
  const generation = generationOf(attempt.generation);
  const isSame =
    last !== undefined &&
    last.state === attempt.state &&
    last.reason === attempt.reason &&
    compareGenerations(generationOf(last.generation), generation) === 0;
  if (isSame) return;
  const state = AttemptState[attempt.state] ?? "UNSPECIFIED";
  await record(tx, actor, now, {
    verb: `attempt_${state.toLowerCase()}`,
    kind: "instance",
    subject: row,
    ordinal: 1,
    reason: attempt.reason,
    after: {
      generation: formatGeneration(generation),
      release: attempt.releaseVersion,
      message: escapeControls(attempt.message).slice(0, MESSAGE_CHARS_MAX),
    },
  });
}

/** Removed means: the tombstone of the newest assignment, not of one before. */
function isExecuted(row: ObjectRow, report: InstanceStatus): boolean {
  const assigned = {
    incarnation: row.fields["assigned_incarnation"] as bigint,
    number: row.fields["assigned_number"] as bigint,
  };
  const observed = generationOf(report.observedGeneration);
  return row.deletedAt !== undefined && compareGenerations(observed, assigned) >= 0;
}

async function finish(deps: AppDeps, tx: Tx, actor: Actor, row: ObjectRow): Promise<void> {
  const locked = await instances.lock(tx, row.id);
  if (locked === undefined || locked.deletedAt === null) return;
  await instances.retire(tx, row.id);
  await record(tx, actor, deps.clock.now(), {
    verb: "removed",
    kind: "instance",
    subject: { ...row, revision: locked.revision + 1n },
  });
}
