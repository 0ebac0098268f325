/**
 * One-off orders on their way to an agent and back. Whatever is open is given to the cell's agent at each hello and
 * at each ring; it is noted as given before it is. An order that another agent of the cell was given is never given
 * again: nobody knows how far that one came.
 */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  type ActionResult,
  ActionSchema,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { EnvelopeSchema } from "@holdfast/proto/holdfast/model/v1/envelope_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { escapeControls, shown } from "@holdfast/shared/text.ts";
import type { AgentSession } from "../../link/port.ts";
import * as actions from "../../store/actions.ts";
import * as agents from "../../store/agents.ts";
import * as sessions from "../../store/sessions.ts";
import { withContext } from "../../store/tx.ts";
import { endAction } from "../actions.ts";
import type { AppDeps } from "../deps.ts";
import { contextOfAgent } from "./admission.ts";

/** What an agent says must not fill the database. */
const REASON_CHARS_MAX = 100;
const MESSAGE_CHARS_MAX = 2_000;

const HUB = { principal: "hub/actions", permission: "", requestId: "" } as const;

/** Open orders of the session's cell, oldest first; those that are too late end here. */
export function actionsDue(
  deps: AppDeps,
  session: AgentSession,
  max: number,
): Promise<readonly Action[]> {
  // A fenced agent gets nothing more to do.
  if (!session.active) return Promise.resolve([]);
  return withContext(deps.database, contextOfAgent(session), async (tx) => {
    await sessions.guard(tx, session);
    const at = new Date(deps.clock.now());
    const due: actions.ActionRow[] = [];
    for (const row of await actions.lockOpen(tx, session.cellId, max)) {
      const end = endOf(row, session, at);
      if (end === undefined) due.push(row);
      else await endAction(tx, HUB, row, { ...end, at });
    }
    const news = due.filter(({ sentAt }) => sentAt === null).map(({ id }) => id);
    if (news.length > 0) await actions.noteSent(tx, news, session.agentId, at);
    return due.map(orderOf);
  });
}

/** Why a row is not to be given to this agent. Pure. */
function endOf(
  { agentId, notAfter }: actions.ActionRow,
  session: AgentSession,
  now: Date,
): Omit<actions.End, "at"> | undefined {
  if (agentId === null) {
    return notAfter < now ? { state: "EXPIRED", ...NEVER_GIVEN } : undefined;
  }
  if (agentId === session.agentId) return undefined;
  const message =
    "the agent that it was given to was replaced before it answered; whether it was done is not known";
  return { state: "FAILED", reason: "AGENT_REPLACED", message };
}

export const NEVER_GIVEN = {
  reason: "EXPIRED",
  message: "the agent was not connected in its time",
} as const;

function orderOf(row: actions.ActionRow): Action {
  const { id, instanceId, kind, resource, notAfter, destroyOrder } = row;
  return create(ActionSchema, {
    ...{ kind, resource },
    ...(destroyOrder !== null && { destroyOrder: fromBinary(EnvelopeSchema, destroyOrder) }),
    id: idOf("action", id),
    instanceId: idOf("instance", instanceId),
    notAfter: timestampFromDate(notAfter),
  });
}

const ENDS: Readonly<Partial<Record<ActionState, actions.EndState>>> = {
  [ActionState.DONE]: "DONE",
  [ActionState.FAILED]: "FAILED",
  [ActionState.EXPIRED]: "EXPIRED",
  [ActionState.REFUSED]: "REFUSED",
};

/** Takes the first answer of the agent that the order was given to; any other answers nothing. */
export async function actionEnded(
  deps: AppDeps,
  session: AgentSession,
  result: ActionResult,
): Promise<void> {
  const id = uuidOf("action", result.id, "action_result.id");
  const reason = escapeControls(result.reason).slice(0, REASON_CHARS_MAX);
  const message = escapeControls(result.message).slice(0, MESSAGE_CHARS_MAX);
  await withContext(deps.database, contextOfAgent(session), async (tx) => {
    await sessions.guard(tx, session);
    const row = await actions.get(tx, id);
    if (row?.agentId !== session.agentId) {
      const text = `action ${shown(result.id)}: this agent was not asked for it`;
      throw new Fault("NOT_FOUND", "UNASKED", text);
    }
    const state = ENDS[result.state];
    if (result.state === ActionState.HELD) return actions.noteHold(tx, id, reason, message);
    if (state === undefined) {
      throw new Fault("INVALID_ARGUMENT", "STATE_UNKNOWN", `action_result.state: ${result.state}`);
    }
    const agent = await agents.get(tx, session.agentId);
    const actor = { principal: `agent/${agent?.name ?? ""}`, permission: "", requestId: "" };
    await endAction(tx, actor, row, { state, reason, message, at: new Date(deps.clock.now()) });
  });
}
