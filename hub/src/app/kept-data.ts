/** Listing what agents keep of instances and resources that are no more, also of instances that are gone. */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type KeptData,
  KeptDataSchema,
  type ListKeptDataRequest,
  type ListKeptDataResponse,
  ListKeptDataResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/kept_data_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import * as instances from "../store/instances.ts";
import * as keptData from "../store/kept-data.ts";
import { CELLS, INSTANCES } from "../store/object-tables.ts";
import type { Tx } from "../store/tx.ts";
import * as visible from "../store/visible.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { read } from "./mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { keyOf, lookUp, resolve, tenantIdOf } from "./reference.ts";

export function listKeptData(
  deps: AppDeps,
  call: Call,
  request: ListKeptDataRequest,
): Promise<ListKeptDataResponse> {
  const { tenant, cell, instance } = request;
  const binding = { call, query: ["kept_data", tenant, cell, instance] };
  const [instanceId, name] = (readPageToken(deps.pageKey, binding, request.pageToken) ??
    []) as string[];
  const limit = pageSizeOf(request.pageSize);
  const after = instanceId === undefined || name === undefined ? undefined : { instanceId, name };
  return read(deps, call, async (tx) => {
    const tenantId = await tenantIdOf(tx, tenant, "tenant");
    const cellId =
      cell === ""
        ? undefined
        : (await resolve(tx, { kind: "cell", table: CELLS, text: cell, path: "cell" })).id;
    const instanceIds = instance === "" ? undefined : await everCalled(tx, instance, tenantId);
    const rows = await keptData.page(tx, { limit, after, tenantId, cellId, instanceIds });
    const cells = await visible.names(
      tx,
      "cell",
      rows.map((row) => row.cellId),
    );
    // A full page may be the last one; the next one is then empty.
    const last = rows.length === limit ? rows.at(-1) : undefined;
    return create(ListKeptDataResponseSchema, {
      keptData: rows.map((row) => viewOf(row, cells.get(row.cellId) ?? "")),
      nextPageToken:
        last === undefined ? "" : pageToken(deps.pageKey, binding, [last.instanceId, last.name]),
    });
  });
}

/** Instances that have or had this name, or this id. Throws NOT_FOUND where there never was one. */
async function everCalled(
  tx: Tx,
  text: string,
  tenantId: string | undefined,
): Promise<readonly string[]> {
  const reference = {
    kind: "instance",
    table: INSTANCES,
    text,
    path: "instance",
    tenantId,
  } as const;
  const present = await lookUp(tx, reference);
  const gone = await instances.listGone(tx, keyOf(reference));
  const found = [present, ...gone].flatMap((each) => each?.id ?? []);
  return found.length > 0 ? found : [(await resolve(tx, reference)).id];
}

function viewOf(row: keptData.KeptRow, cell: string): KeptData {
  const { incarnation, number, undeleteUntil } = row;
  return create(KeptDataSchema, {
    instanceId: idOf("instance", row.instanceId),
    instance: row.instanceName,
    tenant: row.tenantName,
    ...{ cell, name: row.name, resource: row.resource, bytes: row.bytes },
    since: timestampFromDate(row.since),
    reportTime: timestampFromDate(row.reportedAt),
    generation: { incarnation, number },
    cellId: idOf("cell", row.cellId),
    ...(undeleteUntil === null ? {} : { undeleteUntil: timestampFromDate(undeleteUntil) }),
  });
}
