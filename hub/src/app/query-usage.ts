/** What tenants used, summed over series: staff see all lines, a tenant its own. */
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type QueryUsageRequest,
  type QueryUsageResponse,
  QueryUsageResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/usage_pb.js";
import { idOf } from "@holdfast/shared/ids.ts";
import { namesOf } from "../store/objects.ts";
import * as seats from "../store/seats.ts";
import type { Tx } from "../store/tx.ts";
import * as usage from "../store/usage.ts";
import * as visible from "../store/visible.ts";
import type { Call } from "./caller.ts";
import type { AppDeps } from "./deps.ts";
import { read } from "./mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "./page.ts";
import { tenantIdOf } from "./reference.ts";
import { refuse } from "./refusal.ts";

export function queryUsage(
  deps: AppDeps,
  call: Call,
  request: QueryUsageRequest,
): Promise<QueryUsageResponse> {
  const startMs = msOf(request.startTime) ?? 0n;
  const endMs = msOf(request.endTime);
  if (endMs !== undefined && endMs <= startMs) {
    throw refuse("end_time", "must be after start_time", "RANGE_EMPTY");
  }
  const { tenant, meter } = request;
  const binding = {
    call,
    query: ["usage", tenant, meter, startMs.toString(), endMs?.toString() ?? ""],
  };
  const position = readPageToken(deps.pageKey, binding, request.pageToken) as Position | undefined;
  // All pages are of one range: without an end the first page's time is kept.
  const until = endMs ?? BigInt(position?.untilMs ?? deps.clock.now());
  const limit = pageSizeOf(request.pageSize);
  return read(deps, call, async (tx) => {
    const lines = await usage.query(tx, {
      startMs,
      endMs: until,
      tenantId: await tenantIdOf(tx, tenant, "tenant"),
      meter: meter === "" ? undefined : meter,
      after: position?.after,
      limit,
    });
    const last = lines.length === limit ? lines.at(-1) : undefined;
    const next = last && { untilMs: Number(until), after: keyOf(last) };
    return create(QueryUsageResponseSchema, {
      lines: await viewsOf(tx, lines),
      nextPageToken: next === undefined ? "" : pageToken(deps.pageKey, binding, next),
    });
  });
}

type Position = Readonly<{ untilMs: number; after: usage.UsageKey }>;

function keyOf({ tenantId, meter, seatId, instanceId }: usage.UsageLine): usage.UsageKey {
  return { tenantId, meter, seatId, instanceId };
}

function msOf(time: Timestamp | undefined): bigint | undefined {
  return time === undefined ? undefined : BigInt(timestampMs(time));
}

async function viewsOf(tx: Tx, lines: readonly usage.UsageLine[]) {
  const tenants = await namesOf(
    tx,
    "tenant",
    lines.map(({ tenantId }) => tenantId),
  );
  const instances = await namesOf(
    tx,
    "instance",
    lines.map(({ instanceId }) => instanceId),
  );
  const behind = await seats.views(tx, [...new Set(lines.map(({ seatId }) => seatId))]);
  const products = new Map(behind.map(({ seatId, productId }) => [seatId, productId]));
  const meters = await visible.meters(tx);
  const unitOf = ({ seatId, meter }: usage.UsageLine) => {
    const named = meters.filter(({ name }) => name === meter);
    const product = products.get(seatId);
    return (named.find(({ productId }) => productId === product) ?? named[0])?.unit ?? "";
  };
  return lines.map((line) => ({
    tenant: tenants.get(line.tenantId) ?? "",
    meter: line.meter,
    unit: unitOf(line),
    seat: idOf("seat", line.seatId),
    instance: instances.get(line.instanceId) ?? "",
    quantity: line.quantity,
    records: line.records,
    gaps: line.gaps,
    lastTime: timestampFromMs(Number(line.lastWindowEndMs)),
  }));
}
