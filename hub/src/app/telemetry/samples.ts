/** Metrics and health of one instance that the caller may see. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type QueryHealthRequest,
  type QueryHealthResponse,
  QueryHealthResponseSchema,
  type QueryMetricsRequest,
  type QueryMetricsResponse,
  QueryMetricsResponseSchema,
} from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { HealthSampleSchema } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Place } from "../../telemetry/port.ts";
import type { Call } from "../caller.ts";
import type { AppDeps } from "../deps.ts";
import { read } from "../mutation.ts";
import { pageSizeOf, pageToken, readPageToken } from "../page.ts";
import { notFound } from "../reference.ts";
import { ofInstance } from "./places.ts";
import { rangeOf } from "./range.ts";

const POINTS_MAX = 1_000;
const SERIES_MAX = 200;
const METRICS_RANGE_MS = 3_600_000;

type Named = Readonly<{ instance: string; tenant: string }>;

export async function queryMetrics(
  deps: AppDeps,
  call: Call,
  request: QueryMetricsRequest,
): Promise<QueryMetricsResponse> {
  const now = deps.clock.now();
  const { endMs } = rangeOf(
    { ...(request.endTime && { endTime: request.endTime }) },
    {
      startMs: 0,
      endMs: now,
    },
  );
  const range = rangeOf(request, { startMs: endMs - METRICS_RANGE_MS, endMs });
  const place = await placeOf(deps, call, request);
  const stepMs = stepOf(request.stepSeconds, range.endMs - range.startMs);
  const { resource, names } = request;
  const { vendorId } = call.caller;
  const asked = { vendorId, place, resource, names, stepMs, limit: SERIES_MAX };
  const page = await deps.telemetry.metrics({ ...range, ...asked });
  return create(QueryMetricsResponseSchema, {
    stepSeconds: stepMs / 1_000,
    series: page.series.map(({ buckets, ...series }) => ({
      ...series,
      points: buckets.map(({ startMs, ...values }) => ({
        time: timestampFromMs(startMs),
        ...values,
      })),
    })),
    ...(page.keptSinceMs !== undefined && { keptSince: timestampFromMs(page.keptSinceMs) }),
  });
}

/** Whole seconds, so many that no series has more than POINTS_MAX of them. */
function stepOf(askedSeconds: number, rangeMs: number): number {
  const least = Math.max(1, Math.ceil(rangeMs / 1_000 / POINTS_MAX));
  return Math.max(least, askedSeconds) * 1_000;
}

export async function queryHealth(
  deps: AppDeps,
  call: Call,
  request: QueryHealthRequest,
): Promise<QueryHealthResponse> {
  const { instance, tenant } = request;
  const range = rangeOf(request, { startMs: 0, endMs: Number.MAX_SAFE_INTEGER });
  const query = ["health", instance, tenant, range.startMs, range.endMs];
  const beforeMs = readPageToken(deps.pageKey, { call, query }, request.pageToken) as
    | number
    | undefined;
  const place = await placeOf(deps, call, request);
  const limit = pageSizeOf(request.pageSize);
  const { vendorId } = call.caller;
  const page = await deps.telemetry.health({ ...range, vendorId, place, beforeMs, limit });
  const last = page.samples.length < limit ? undefined : page.samples.at(-1);
  return create(QueryHealthResponseSchema, {
    samples: page.samples.map(({ timeMs, body }) => ({
      time: timestampFromMs(timeMs),
      ...sampleOf(body),
    })),
    nextPageToken: last === undefined ? "" : pageToken(deps.pageKey, { call, query }, last.timeMs),
    ...(page.keptSinceMs !== undefined && { keptSince: timestampFromMs(page.keptSinceMs) }),
  });
}

async function placeOf(deps: AppDeps, call: Call, { instance, tenant }: Named): Promise<Place> {
  const { places } = await read(deps, call, (tx) => ofInstance(tx, instance, tenant));
  const [place] = places;
  if (place !== undefined) return place;
  throw notFound({ kind: "instance", text: instance });
}

const STATUS_WORDS: Readonly<Record<ConditionStatus, string>> = {
  [ConditionStatus.UNSPECIFIED]: "Unknown",
  [ConditionStatus.TRUE]: "True",
  [ConditionStatus.FALSE]: "False",
  [ConditionStatus.UNKNOWN]: "Unknown",
};

function sampleOf(body: Uint8Array) {
  const { conditions, resources } = fromBinary(HealthSampleSchema, body);
  const views = conditions.map(({ type, status, reason, message, lastTransitionTime }) => ({
    ...{ type, reason, message },
    status: STATUS_WORDS[status] ?? "Unknown",
    ...(lastTransitionTime && { lastTransitionTime }),
  }));
  return { conditions: views, resources };
}
