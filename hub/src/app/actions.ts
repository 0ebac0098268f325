/**
 * One-off orders about instances: asked for here, given to the cell's agent by the link, ended by its answer or by
 * the clock. Asking changes nothing of what is wanted.
 */
import { create } from "@bufbuild/protobuf";
import { durationMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  ActionSchema,
  type CreateActionRequest,
  CreateActionRequestSchema,
  type CreateActionResponse,
  CreateActionResponseSchema,
  type GetActionRequest,
  type GetActionResponse,
  GetActionResponseSchema,
  type ListActionsRequest,
  type ListActionsResponse,
  ListActionsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/action_pb.js";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { idOf, uuidOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import * as actions from "../store/actions.ts";
import { INSTANCES } from "../store/object-tables.ts";
import { findEver, type ObjectRow } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import { type Call, principalOf } from "./caller.ts";
import { type AppDeps, newId } from "./deps.ts";
import { readOrder } from "./destroy-orders.ts";
import { type Actor, actorOf, record } from "./event.ts";
import { mutate, read } from "./mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { resolve, tenantIdOf } from "./reference.ts";
import { refuse } from "./refusal.ts";

const TTL_MS_DEFAULT = 600_000;
const TTL_MS_MIN = 1_000;
const TTL_MS_MAX = 7 * 86_400_000;
/** Of one instance. */
export const OPEN_ACTIONS_MAX = 20;

/** Throws FAILED_PRECONDITION `DELETED`, RESOURCE_EXHAUSTED `ACTIONS_TOO_MANY`, INVALID_ARGUMENT `JOB_UNNAMED`. */
export function createAction(
  deps: AppDeps,
  call: Call,
  request: CreateActionRequest,
): Promise<CreateActionResponse> {
  const { kind, requestId, validateOnly } = request;
  const isDestruction = kind === ActionKind.DESTROY;
  if (!isDestruction && request.destroyOrder !== undefined) {
    throw refuse("destroy_order", "only an action of kind DESTROY has one", "ORDER_REFUSED");
  }
  if (kind === ActionKind.RUN_JOB && request.resource === "") {
    throw refuse("resource", "got nothing; allowed: the name of a job", "JOB_UNNAMED");
  }
  const ttlMs = isDestruction ? 0 : ttlOf(request);
  const schemas = {
    requestSchema: CreateActionRequestSchema,
    answerSchema: CreateActionResponseSchema,
  };
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const now = deps.clock.now();
    const order = isDestruction ? await readOrder(tx, request.destroyOrder, now) : undefined;
    const row = order?.row ?? (await instanceOf(tx, request));
    if (order === undefined) refuseLeaving(row);
    await refuseTooMany(tx, row);
    const id = newId(deps.clock);
    await actions.insert(tx, {
      ...{ id, instanceId: row.id, kind },
      resource: order === undefined ? request.resource : order.names.join(", "),
      principal: principalOf(call.caller),
      destroyOrder: order?.bytes ?? null,
      createdAt: new Date(now),
      notAfter: order?.notAfter ?? new Date(now + ttlMs),
    });
    const made = await actions.get(tx, id);
    if (made === undefined) throw new RangeError("an action that was inserted is not there");
    await recordAction(tx, actorOf(call), now, made, "created");
    const cell = { vendorId: tx.context.vendorId, cellId: made.cellId };
    tx.afterCommit(() => deps.actionBells.ring(cell));
    return create(CreateActionResponseSchema, { action: viewOf(made) });
  });
}

function ttlOf({ ttl }: CreateActionRequest): number {
  const ttlMs = ttl === undefined ? TTL_MS_DEFAULT : durationMs(ttl);
  if (ttlMs >= TTL_MS_MIN && ttlMs <= TTL_MS_MAX) return ttlMs;
  throw refuse("ttl", `got ${ttlMs} ms; allowed: 1 s to 7 days`, "TTL_OUT_OF_RANGE");
}

async function instanceOf(
  tx: Tx,
  { instance: text, tenant }: Readonly<{ instance: string; tenant: string }>,
): Promise<ObjectRow> {
  const tenantId = await tenantIdOf(tx, tenant, "tenant");
  const reference = { kind: "instance", table: INSTANCES, text, path: "instance" } as const;
  return resolve(tx, { ...reference, tenantId });
}

function refuseLeaving({ name, deletedAt }: ObjectRow): void {
  if (deletedAt === undefined) return;
  throw new Fault("FAILED_PRECONDITION", "DELETED", `instance ${name}: it is being deleted`);
}

async function refuseTooMany(tx: Tx, { id, name }: ObjectRow): Promise<void> {
  const open = await actions.countOpen(tx, id);
  if (open < OPEN_ACTIONS_MAX) return;
  throw new Fault(
    "RESOURCE_EXHAUSTED",
    "ACTIONS_TOO_MANY",
    `instance ${name}: ${open} actions are open; at most ${OPEN_ACTIONS_MAX}`,
    { next: `holdfast action list ${name}` },
  );
}

export function getAction(
  deps: AppDeps,
  call: Call,
  { action: text }: GetActionRequest,
): Promise<GetActionResponse> {
  const id = uuidOf("action", text, "action");
  return read(deps, call, async (tx) => {
    const row = await actions.get(tx, id);
    if (row !== undefined) return create(GetActionResponseSchema, { action: viewOf(row) });
    throw new Fault("NOT_FOUND", "NOT_FOUND", `action ${shown(text)}: not found`, {
      next: "holdfast action list",
      metadata: { kind: "action" },
    });
  });
}

export function listActions(
  deps: AppDeps,
  call: Call,
  request: ListActionsRequest,
): Promise<ListActionsResponse> {
  const { tenant, instance } = request;
  const binding = { call, query: ["action", tenant, instance] };
  const [beforeId] = (readPageToken(deps.pageKey, binding, request.pageToken) ?? []) as string[];
  const limit = pageSizeOf(request.pageSize);
  return read(deps, call, async (tx) => {
    const tenantId = await tenantIdOf(tx, tenant, "tenant");
    const instanceId = instance === "" ? undefined : (await instanceOf(tx, request)).id;
    const rows = await actions.page(tx, { limit, beforeId, tenantId, instanceId });
    // A full page may be the last one; the next one is then empty.
    const last = rows.length === limit ? rows.at(-1) : undefined;
    return create(ListActionsResponseSchema, {
      actions: rows.map(viewOf),
      nextPageToken: last === undefined ? "" : pageToken(deps.pageKey, binding, [last.id]),
    });
  });
}

/** Ends it and says so in the events; nothing where it had ended before. */
export async function endAction(
  tx: Tx,
  actor: Actor,
  row: actions.ActionRow,
  end: actions.End,
): Promise<void> {
  if (!(await actions.end(tx, row.id, end))) return;
  const { reason, message } = end;
  const verb = end.state.toLowerCase();
  await recordAction(tx, actor, end.at.getTime(), { ...row, reason, message }, verb);
}

/** Stands among the events of the instance, since that is where people look for it. */
async function recordAction(
  tx: Tx,
  actor: Actor,
  now: number,
  row: actions.ActionRow,
  verb: string,
): Promise<void> {
  const subject = await findEver(tx, INSTANCES, row.instanceId, false);
  if (subject === undefined) return;
  const { id, kind, resource, reason, message, notAfter } = row;
  await record(tx, actor, now, {
    verb: `action_${verb}`,
    kind: "instance",
    subject,
    reason,
    after: {
      action: idOf("action", id),
      kind: ActionKind[kind] ?? "",
      resource,
      message,
      not_after: notAfter.toISOString(),
    },
  });
}

function viewOf(row: actions.ActionRow): Action {
  const { id, instanceName, tenantName, kind, resource, state, reason, message, principal } = row;
  return create(ActionSchema, {
    ...{ kind, resource, reason, message, principal },
    id: idOf("action", id),
    instance: instanceName,
    tenant: tenantName,
    status: state,
    createTime: timestampFromDate(row.createdAt),
    notAfter: timestampFromDate(row.notAfter),
    ...(row.sentAt === null ? {} : { sendTime: timestampFromDate(row.sentAt) }),
    ...(row.endedAt === null ? {} : { endTime: timestampFromDate(row.endedAt) }),
  });
}
