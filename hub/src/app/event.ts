/** One event for each change, in the transaction of the change: who, with which permission, before and after. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { IdKind } from "@holdfast/shared/ids.ts";
import * as events from "../store/events.ts";
import type { Tx } from "../store/tx.ts";
import type { Call } from "./caller.ts";
import { principalOf } from "./caller.ts";

export type Change = Readonly<{
  /** Past participle, such as created. */
  verb: string;
  kind: IdKind;
  /** Row of the subject; its revision is the one after the change. */
  subject: Readonly<{ tenantId: string; id: string; name: string; revision: bigint }>;
  before?: JsonObject | undefined;
  after?: JsonObject | undefined;
  reason?: string;
  /** Order within one revision. */
  ordinal?: number;
}>;

/** Who did it: a member's call, or an agent or the hub itself. */
export type Actor = Readonly<{ principal: string; permission: string; requestId: string }>;

export function actorOf(call: Call): Actor {
  return {
    principal: principalOf(call.caller),
    permission: call.permission,
    requestId: call.callId,
  };
}

export async function record(tx: Tx, actor: Actor, now: number, change: Change): Promise<void> {
  await events.append(tx, [draftOf(actor, now, change)]);
}

/** Changes by several at once, in one statement. */
export async function recordAll(
  tx: Tx,
  now: number,
  changes: readonly Readonly<{ actor: Actor; change: Change }>[],
): Promise<void> {
  const drafts = changes.map(({ actor, change }) => draftOf(actor, now, change));
  await events.append(tx, drafts);
}

function draftOf(actor: Actor, now: number, change: Change): events.EventDraft {
  const { verb, kind, subject, before, after, reason = "", ordinal = 0 } = change;
  return {
    tenantId: subject.tenantId,
    type: `${kind}.${verb}`,
    subjectKind: kind,
    subjectId: subject.id,
    subjectName: subject.name,
    subjectRevision: subject.revision,
    ordinal,
    occurredAt: new Date(now),
    ...actor,
    reason,
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  };
}
