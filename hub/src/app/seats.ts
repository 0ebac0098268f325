/** Listing seats, also those of one instance. */
import { create } from "@bufbuild/protobuf";
import {
  type ListSeatsRequest,
  type ListSeatsResponse,
  ListSeatsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/seat_pb.js";
import { INSTANCES, SEATS } from "../store/object-tables.ts";
import { page } from "../store/objects.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { SEAT } from "./kinds/seat.ts";
import { read } from "./mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { resolve, tenantIdOf } from "./reference.ts";

export function listSeats(
  deps: AppDeps,
  call: Call,
  request: ListSeatsRequest,
): Promise<ListSeatsResponse> {
  const { tenant, instance } = request;
  const binding = { call, query: ["seat", tenant, instance] };
  const position = readPageToken(deps.pageKey, binding, request.pageToken);
  const [name, id] = (position ?? []) as string[];
  const limit = pageSizeOf(request.pageSize);
  return read(deps, call, async (tx) => {
    const path = "instance";
    const wanted =
      instance === ""
        ? undefined
        : await resolve(tx, { kind: "instance", table: INSTANCES, text: instance, path });
    const rows = await page(tx, SEATS, {
      limit,
      tenantId: await tenantIdOf(tx, tenant, "tenant"),
      after: name === undefined || id === undefined ? undefined : { name, id },
      equal: wanted === undefined ? {} : { instance_id: wanted.id },
    });
    const last = rows.length === limit ? rows.at(-1) : undefined;
    const position = last && [last.name, last.id];
    return create(ListSeatsResponseSchema, {
      seats: [...(await SEAT.view(tx, rows))],
      nextPageToken: position === undefined ? "" : pageToken(deps.pageKey, binding, position),
    });
  });
}
