/**
 * What an agent tells, taken into the store. It can tell of its own cell alone: all is kept under the cell that its
 * certificate names, so what it says of an instance elsewhere is never found by anybody. No database is asked.
 */
import { toBinary } from "@bufbuild/protobuf";
import {
  HealthSampleSchema,
  type LogChunk as LogChunkMessage,
  LogEncoding,
  MetricKind,
  type MetricSeries as MetricSeriesMessage,
  type Missing as MissingMessage,
  type Telemetry,
  TelemetryClass,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { AgentSession } from "../../link/port.ts";
import type {
  Append,
  HealthSample,
  LogChunk,
  MetricSeries,
  Missing,
} from "../../telemetry/port.ts";
import type { AppDeps } from "../deps.ts";

const ENTRIES_MAX = 256;
const POINTS_MAX = 10_000;
const LINES_MAX = 100_000;
const CHUNK_DATA_BYTES_MAX = 256 * 1024;
const HEALTH_BYTES_MAX = 64 * 1024;
/** How far an agent's clock may be ahead of ours; what is later counts as told now. */
const AHEAD_MS_MAX = 3_600_000;

const RESOURCE = /^([a-z][a-z0-9-]{0,39})?$/;
const COPY = /^[A-Za-z0-9][A-Za-z0-9._~-]{0,199}$/;
const METRIC = /^[a-z][a-z0-9_]{0,79}$/;
const REASON = /^[A-Z][A-Z0-9_]{0,39}$/;
const NOTE_ID = /^[A-Za-z0-9:-]{1,80}$/;

/** Hears what was kept, and returns at once. */
export type Kept = (append: Append) => void;

/** Resolves once it is kept. Throws INVALID_ARGUMENT `TELEMETRY_MALFORMED` for all of it if any of it is bad. */
export async function told(
  { telemetry, clock }: Pick<AppDeps, "telemetry" | "clock">,
  session: AgentSession,
  message: Telemetry,
  kept: Kept = () => undefined,
): Promise<void> {
  const append = appendOf(session, message, clock.now());
  await telemetry.append(append);
  kept(append);
}

/** Pure. */
export function appendOf(
  { vendorId, cellId, agentId }: Pick<AgentSession, "vendorId" | "cellId" | "agentId">,
  { logs, health, metrics, missing }: Telemetry,
  now: number,
): Append {
  for (const [path, list] of Object.entries({ logs, health, metrics, missing })) {
    check(list.length <= ENTRIES_MAX, path, list.length, `at most ${ENTRIES_MAX}`);
  }
  const points = metrics.reduce((sum, series) => sum + series.points.length, 0);
  check(points <= POINTS_MAX, "metrics.points", points, `at most ${POINTS_MAX}`);
  const time = (at: bigint) => Math.max(0, Math.min(Number(at), now + AHEAD_MS_MAX));
  return {
    ...{ vendorId, cellId, agentId },
    chunks: logs.map((chunk) => chunkOf(chunk, time)),
    health: health.map((sample): HealthSample => {
      const { instanceId, timeMs } = sample;
      const body = toBinary(HealthSampleSchema, sample);
      const rule = `at most ${HEALTH_BYTES_MAX} bytes`;
      check(body.length <= HEALTH_BYTES_MAX, "health", body.length, rule);
      return { instanceId: instanceOf(instanceId), timeMs: time(timeMs), body };
    }),
    metrics: metrics.map((series) => seriesOf(series, time)),
    missing: missing.map((note) => noteOf(note, time)),
  };
}

type Time = (at: bigint) => number;

function chunkOf(chunk: LogChunkMessage, time: Time): LogChunk {
  const { resource, copy, lineCount, encoding, data } = chunk;
  check(RESOURCE.test(resource), "logs.resource", resource, "the id of a resource");
  check(COPY.test(copy), "logs.copy", copy, "the name of a copy");
  const isKnown = encoding === LogEncoding.PLAIN || encoding === LogEncoding.ZSTD;
  check(isKnown, "logs.encoding", encoding, "plain or zstd");
  const bytesRule = `at most ${CHUNK_DATA_BYTES_MAX} bytes`;
  check(data.length <= CHUNK_DATA_BYTES_MAX, "logs.data", data.length, bytesRule);
  check(lineCount <= LINES_MAX, "logs.line_count", lineCount, `at most ${LINES_MAX}`);
  const [firstPosition, lastPosition] = [chunk.firstPosition, chunk.lastPosition].map(whole);
  return {
    instanceId: instanceOf(chunk.instanceId),
    ...{ resource, copy, lineCount, encoding, data },
    firstMs: time(chunk.firstTimeMs),
    lastMs: time(chunk.lastTimeMs),
    firstPosition: firstPosition ?? 0,
    lastPosition: lastPosition ?? 0,
  };
}

function seriesOf(series: MetricSeriesMessage, time: Time): MetricSeries {
  const { resource, name, kind, points } = series;
  check(RESOURCE.test(resource), "metrics.resource", resource, "the id of a resource");
  check(METRIC.test(name), "metrics.name", name, "lower-case letters, digits and underscores");
  const isKnown = kind === MetricKind.GAUGE || kind === MetricKind.COUNTER;
  check(isKnown, "metrics.kind", kind, "gauge or counter");
  return {
    instanceId: instanceOf(series.instanceId),
    ...{ resource, name, kind },
    points: points.map(({ timeMs, value }) => {
      check(Number.isFinite(value), "metrics.points.value", value, "a finite number");
      return { timeMs: time(timeMs), value };
    }),
  };
}

function noteOf(note: MissingMessage, time: Time): Missing {
  const { id, resource, reason, class: of } = note;
  check(NOTE_ID.test(id), "missing.id", id, "letters, digits, colons and dashes");
  check(RESOURCE.test(resource), "missing.resource", resource, "the id of a resource");
  check(REASON.test(reason), "missing.reason", reason, "UPPER_SNAKE");
  check(of in TelemetryClass, "missing.class", of, "a known class");
  return {
    ...{ id, resource, reason, class: of },
    instanceId: instanceOf(note.instanceId),
    count: whole(note.count),
    bytes: whole(note.bytes),
    firstMs: time(note.firstTimeMs),
    lastMs: time(note.lastTimeMs),
  };
}

function instanceOf(id: string): string {
  return uuidOf("instance", id, "instance_id");
}

function whole(value: bigint): number {
  const number = Number(value);
  check(Number.isSafeInteger(number), "number", value, "at most 2^53");
  return number;
}

function check(isGood: boolean, path: string, value: unknown, rule: string): void {
  if (isGood) return;
  const got = shown(String(value));
  throw new Fault(
    "INVALID_ARGUMENT",
    "TELEMETRY_MALFORMED",
    `telemetry.${path}: got ${got}; allowed: ${rule}`,
  );
}
