/**
 * Takes in what an agent says about its instances: the latest report is kept, conditions are folded, changes
 * become events, and an instance whose tombstone is executed is gone.
 */
import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { StatusReport } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import {
  AttemptState,
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import type { Fault } from "@holdfast/shared/fault.ts";
import { compareGenerations, formatGeneration, generationOf } from "@holdfast/shared/generation.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { escapeControls } from "@holdfast/shared/text.ts";
import { type Condition, type ConditionWord, foldReport } from "../../domain/conditions.ts";
import type { AgentSession } from "../../link/port.ts";
import * as agents from "../../store/agents.ts";
import * as instances from "../../store/instances.ts";
import * as sessions from "../../store/sessions.ts";
import * as statuses from "../../store/statuses.ts";
import { type Tx, withContext } from "../../store/tx.ts";
import type { AppDeps } from "../deps.ts";
import { type Actor, type Change, record, recordAll } from "../event.ts";
import { contextOfAgents } from "./admission.ts";
import { keepData } from "./kept-report.ts";

const WORDS: Readonly<Record<ConditionStatus, ConditionWord>> = {
  [ConditionStatus.UNSPECIFIED]: "Unknown",
  [ConditionStatus.TRUE]: "True",
  [ConditionStatus.FALSE]: "False",
  [ConditionStatus.UNKNOWN]: "Unknown",
};
/** Longer messages are cut; what an agent says must not fill the database. */
const MESSAGE_CHARS_MAX = 2_000;

/** Rows of one transaction. */
const STATUSES_MAX = 512;

/** What one agent says. */
export type StatusQuestion = Readonly<{ session: AgentSession; report: StatusReport }>;

/** By agents of one vendor; in the order of the questions, what is wrong with each, or true. */
export async function statusesReported(
  deps: AppDeps,
  vendorId: string,
  questions: readonly StatusQuestion[],
): Promise<readonly (true | Fault)[]> {
  const answers: (true | Fault)[] = [];
  for (const part of partsOf(questions)) {
    answers.push(...(await takePart(deps, vendorId, part)));
  }
  return answers;
}

/** Each of a few agents at once, or of one that says much. */
function partsOf(questions: readonly StatusQuestion[]): readonly (readonly StatusQuestion[])[] {
  const parts: StatusQuestion[][] = [];
  let rows = 0;
  for (const question of questions) {
    const more = question.report.instances.length;
    if (parts.length === 0 || rows + more > STATUSES_MAX) {
      parts.push([]);
      rows = 0;
    }
    rows += more;
    parts.at(-1)?.push(question);
  }
  return parts;
}

function takePart(
  deps: AppDeps,
  vendorId: string,
  questions: readonly StatusQuestion[],
): Promise<readonly (true | Fault)[]> {
  const speakers = questions.map(({ session }) => session);
  return withContext(deps.database, contextOfAgents(vendorId, speakers), async (tx) => {
    const said = questions.map(saidById);
    const ids = [...new Set(said.flatMap((reports) => [...reports.keys()]))];
    const [faults, names, heads, before] = await Promise.all([
      sessions.guardAll(tx, speakers),
      agents.list(
        tx,
        speakers.map(({ agentId }) => agentId),
      ),
      instances.heads(tx, ids),
      statuses.list(tx, ids),
    ]);
    const nameOf = new Map(names.map(({ id, name }) => [id, name]));
    const headOf = new Map(heads.map((each) => [each.id, each]));
    const beforeOf = new Map(before.map((each) => [each.instanceId, each]));
    const now = deps.clock.now();
    const folded = speakers.flatMap((session, at) => {
      if (faults[at] !== undefined) return [];
      const principal = `agent/${nameOf.get(session.agentId) ?? ""}`;
      return [...(said[at] ?? [])].flatMap(([id, report]) => {
        const head = headOf.get(id);
        // Reports of what is in another cell are dropped, as if it did not exist.
        if (head?.cellId !== session.cellId || head.isGone) return [];
        return [fold({ session, principal, head, report, before: beforeOf.get(id) }, now)];
      });
    });
    await keep(deps, tx, folded);
    const own = speakers.flatMap((session, at) => {
      if (faults[at] !== undefined) return [];
      return [...(said[at] ?? [])].flatMap(([id, report]) => {
        const head = headOf.get(id);
        return head?.cellId === session.cellId ? [{ head, report, before: beforeOf.get(id) }] : [];
      });
    });
    await keepData(tx, own, new Date(now));
    return questions.map((_, at) => faults[at] ?? true);
  });
}

/** An instance that is named twice has what was said last. */
function saidById({ report }: StatusQuestion): ReadonlyMap<string, InstanceStatus> {
  return new Map(
    report.instances.map((each) => [
      uuidOf("instance", each.instanceId, "status.instance_id"),
      each,
    ]),
  );
}

type Said = Readonly<{
  session: AgentSession;
  /** As events name who did it. */
  principal: string;
  head: instances.InstanceHead;
  report: InstanceStatus;
  before: statuses.StatusRow | undefined;
}>;

type Folded = Readonly<{
  row: statuses.NewStatus;
  head: instances.InstanceHead;
  actor: Actor;
  changes: readonly Change[];
  /** Its tombstone is executed. */
  isOver: boolean;
  /** What the agent still has to confirm of the newest tombstone. */
  finalizers: readonly string[];
}>;

/** Pure. */
function fold({ session, principal, head, report, before }: Said, now: number): Folded {
  const kept = (before?.conditions ?? []) as readonly Condition[];
  const { conditions, changes } = foldReport(kept, saidIn(report), new Date(now).toISOString());
  const row: statuses.NewStatus = {
    tenantId: head.tenantId,
    cellId: head.cellId,
    instanceId: head.id,
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
  };
  const changed: Change = {
    verb: "condition_changed",
    kind: "instance",
    subject: head,
    before: wordsOf(changes.flatMap((each) => each.before ?? [])),
    after: wordsOf(changes.map(({ after }) => after)),
  };
  return {
    row,
    head,
    actor: { principal, permission: "", requestId: "" },
    changes: [...(changes.length > 0 ? [changed] : []), ...attemptChange(head, report, before)],
    isOver: report.removed && isAbout(head, report),
    finalizers: isAbout(head, report) ? report.finalizers.map(({ name }) => name) : [],
  };
}

async function keep(deps: AppDeps, tx: Tx, folded: readonly Folded[]): Promise<void> {
  if (folded.length === 0) return;
  const kept = await statuses.replaceAll(
    tx,
    folded.map(({ row }) => row),
  );
  const news = folded.filter(({ head }) => kept.has(head.id));
  await recordAll(
    tx,
    deps.clock.now(),
    news.flatMap(({ actor, changes }) => changes.map((change) => ({ actor, change }))),
  );
  await instances.setFinalizers(tx, new Map(news.flatMap(waitsOf)));
  for (const { actor, head } of news.filter(({ isOver }) => isOver)) {
    await finish(deps, tx, actor, head);
  }
}

/** An agent that knows no finalizers names none, and confirms all of them at once in the end. */
function waitsOf({ head, isOver, finalizers }: Folded): readonly (readonly [string, string[]])[] {
  if (isOver || finalizers.length === 0) return [];
  const waits = head.finalizers.filter((name) => finalizers.includes(name));
  return waits.length === head.finalizers.length ? [] : [[head.id, waits]];
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
function attemptChange(
  head: instances.InstanceHead,
  { attempt }: InstanceStatus,
  before: statuses.StatusRow | undefined,
): readonly Change[] {
  if (attempt === undefined) return [];
  const last = before && fromBinary(InstanceStatusSchema, before.report).attempt;
  const generation = generationOf(attempt.generation);
  const isSame =
    last !== undefined &&
    last.state === attempt.state &&
    last.reason === attempt.reason &&
    compareGenerations(generationOf(last.generation), generation) === 0;
  if (isSame) return [];
  const state = AttemptState[attempt.state] ?? "UNSPECIFIED";
  const after = {
    generation: formatGeneration(generation),
    release: attempt.releaseVersion,
    message: escapeControls(attempt.message).slice(0, MESSAGE_CHARS_MAX),
  };
  const verb = `attempt_${state.toLowerCase()}`;
  return [{ verb, kind: "instance", subject: head, ordinal: 1, reason: attempt.reason, after }];
}

/** The tombstone of the newest assignment, not one before. */
function isAbout(head: instances.InstanceHead, report: InstanceStatus): boolean {
  const assigned = { incarnation: head.assignedIncarnation, number: head.assignedNumber };
  const observed = generationOf(report.observedGeneration);
  return head.deletedAt !== null && compareGenerations(observed, assigned) >= 0;
}

async function finish(
  deps: AppDeps,
  tx: Tx,
  actor: Actor,
  head: instances.InstanceHead,
): Promise<void> {
  const locked = await instances.lock(tx, head.id);
  if (locked === undefined || locked.deletedAt === null) return;
  await instances.retire(tx, head.id, head.undeleteDays || deps.undeleteDays);
  await record(tx, actor, deps.clock.now(), {
    verb: "removed",
    kind: "instance",
    subject: { ...head, revision: locked.revision + 1n },
  });
}
