/**
 * Taking a deletion back: the same instance under a newer generation, with the seats that it had, in the cell where its
 * data is. Possible as long as the deletion is under way, and after that until its time is over. What makes it fit is
 * checked as for a new instance: plan, subscription, quota, room, floor.
 */
import { create } from "@bufbuild/protobuf";
import {
  type Instance,
  type UndeleteInstanceRequest,
  UndeleteInstanceRequestSchema,
  type UndeleteInstanceResponse,
  UndeleteInstanceResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import * as actions from "../store/actions.ts";
import * as instances from "../store/instances.ts";
import { INSTANCES } from "../store/object-tables.ts";
import { findEver, type ObjectRow } from "../store/objects.ts";
import type { Tx } from "../store/tx.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { actorOf, record } from "./event.ts";
import { type Catalogue, readCatalogue } from "./kinds/catalogue.ts";
import { INSTANCE, restoreInstance } from "./kinds/instance.ts";
import { eventView } from "./metadata.ts";
import { mutate, read } from "./mutation.ts";
import { keyOf, lookUp, notFound, tenantIdOf } from "./reference.ts";
import { viewOne, type Work } from "./standard.ts";

/** Throws NOT_FOUND, FAILED_PRECONDITION `NOT_DELETED`, `UNDELETE_TOO_LATE` or `DATA_DESTROYED`, ALREADY_EXISTS `NAME_TAKEN`. */
export async function undeleteInstance(
  deps: AppDeps,
  call: Call,
  request: UndeleteInstanceRequest,
): Promise<UndeleteInstanceResponse> {
  const { validateOnly, requestId } = request;
  const schemas = {
    requestSchema: UndeleteInstanceRequestSchema,
    answerSchema: UndeleteInstanceResponseSchema,
  };
  const { id, spec } = await read(deps, call, async (tx) => {
    const found = await findDeleted(tx, request);
    return { id: found.id, spec: (await viewOne(tx, INSTANCE, found)).spec };
  });
  if (spec === undefined) throw new RangeError("an instance without a spec");
  const catalogue = await readCatalogue(deps, call, spec);
  return mutate(deps, { call, request, validateOnly, requestId, ...schemas }, async (tx) => {
    const instance = await undelete({ deps, call, tx }, catalogue, id, spec);
    return create(UndeleteInstanceResponseSchema, { instance });
  });
}

async function undelete(
  work: Work,
  catalogue: Catalogue,
  id: string,
  spec: NonNullable<Instance["spec"]>,
): Promise<Instance> {
  const { tx, deps, call } = work;
  const row = await findEver(tx, INSTANCES, id, true);
  if (row === undefined) throw notFound({ kind: "instance", text: id });
  await checkRestorable(work, row);
  await instances.restore(tx, id);
  const restored = await findEver(tx, INSTANCES, id, false);
  if (restored === undefined) throw new RangeError("an instance that was restored is not there");
  await restoreInstance(work, catalogue, spec, restored);
  const assigned = (await findEver(tx, INSTANCES, id, false)) ?? restored;
  const after = await viewOne(tx, INSTANCE, assigned);
  await record(tx, actorOf(call), deps.clock.now(), {
    verb: "undeleted",
    kind: "instance",
    subject: assigned,
    after: eventView(INSTANCE.schema, after),
  });
  return after;
}

/** The one of this name that is being deleted, or else the one that went last. */
async function findDeleted(
  tx: Tx,
  { instance: text, tenant }: UndeleteInstanceRequest,
): Promise<ObjectRow> {
  const tenantId = await tenantIdOf(tx, tenant, "tenant");
  const reference = {
    kind: "instance",
    table: INSTANCES,
    text,
    path: "instance",
    tenantId,
  } as const;
  const present = await lookUp(tx, reference);
  if (present?.deletedAt !== undefined) return present;
  const gone = await instances.listGone(tx, keyOf(reference));
  const owned = gone.filter((each) => tenantId === undefined || each.tenantId === tenantId);
  const [last] = owned;
  if (last !== undefined && owned.some((each) => each.tenantId !== last.tenantId)) {
    throw new Fault(
      "INVALID_ARGUMENT",
      "NAME_AMBIGUOUS",
      `instance: several tenants had an instance ${text}; say whose in the field tenant, or give the id`,
      { next: "holdfast kept-data list" },
    );
  }
  const row = last && (await findEver(tx, INSTANCES, last.id, false));
  if (row !== undefined) return row;
  if (present === undefined) throw notFound(reference);
  throw notDeleted(present);
}

function notDeleted({ name }: ObjectRow): Fault {
  return new Fault("FAILED_PRECONDITION", "NOT_DELETED", `instance ${name}: it is not deleted`, {
    next: `holdfast describe instance ${name}`,
  });
}

async function checkRestorable({ tx, deps }: Work, row: ObjectRow): Promise<void> {
  const { id, name, tenantId, deletedAt } = row;
  const refusal = (reason: string, message: string) =>
    new Fault("FAILED_PRECONDITION", reason, `instance ${name}: ${message}`, {
      next: `holdfast kept-data list --instance ${name}`,
    });
  if (deletedAt === undefined) throw notDeleted(row);
  const isGone = (row.fields["gone_at"] ?? null) !== null;
  const until = row.fields["undelete_until"] as Date | null;
  if (isGone && (until === null || until.getTime() < deps.clock.now())) {
    const said = until === null ? "no agent ever ran it" : `until ${until.toISOString()}`;
    throw refusal(
      "UNDELETE_TOO_LATE",
      `it could be undeleted ${said}; its data is kept all the same`,
    );
  }
  if (await actions.isDestroyed(tx, id, deletedAt))
    throw refusal("DATA_DESTROYED", "its data was destroyed by order; make another one");
  const key = {
    kind: "instance",
    table: INSTANCES,
    text: name,
    path: "instance",
    tenantId,
  } as const;
  if (isGone && (await lookUp(tx, key)) !== undefined) {
    throw new Fault("ALREADY_EXISTS", "NAME_TAKEN", `instance ${name}: the name is taken by now`, {
      next: `holdfast get instance ${name}`,
    });
  }
}
