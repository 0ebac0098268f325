/** Lines, notes of what is missing and health that needs a look, as log records of OTLP. Pure. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import {
  HealthSampleSchema,
  type LogLine,
  TelemetryClass,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { ExportLogsServiceRequestSchema } from "@holdfast/proto/opentelemetry/proto/collector/logs/v1/logs_service_pb.js";
import {
  type LogRecordSchema,
  SeverityNumber,
} from "@holdfast/proto/opentelemetry/proto/logs/v1/logs_pb.js";
import { linesOf } from "../telemetry/log-data.ts";
import type { HealthSample, LogChunk, Missing } from "../telemetry/port.ts";
import { attributesOf, type Maker, nanos, resourceOf, scopeOf } from "./attributes.ts";
import type { LogItem } from "./item.ts";

type LogRecord = MessageInitShape<typeof LogRecordSchema>;

/** A part of a request: parts of one signal make a request by standing one after the other. */
export type Part = Readonly<{ bytes: Uint8Array; records: number }>;

/** A chunk may hold 20,000 lines; a part stays below a few MiB whatever it holds. */
const RECORDS_MAX = 1_000;

/** Undefined for data that cannot be read. */
export function logParts(item: LogItem, maker: Maker): readonly Part[] | undefined {
  const records = recordsOf(item);
  if (records === undefined) return undefined;
  const resource = resourceOf(item.owner, item.agentId);
  const parts: Part[] = [];
  for (let at = 0; at < records.length; at += RECORDS_MAX) {
    const logRecords = records.slice(at, at + RECORDS_MAX);
    const scopeLogs = [{ scope: scopeOf(maker), logRecords }];
    const request = create(ExportLogsServiceRequestSchema, {
      resourceLogs: [{ resource, scopeLogs }],
    });
    const bytes = toBinary(ExportLogsServiceRequestSchema, request);
    parts.push({ bytes, records: logRecords.length });
  }
  return parts;
}

function recordsOf(item: LogItem): LogRecord[] | undefined {
  const observedTimeUnixNano = nanos(item.takenMs);
  if ("chunk" in item) {
    const lines = linesOf(item.chunk.encoding, item.chunk.data, "");
    return lines?.map((line) => ({ ...lineRecord(item.chunk, line), observedTimeUnixNano }));
  }
  if ("missing" in item) return [{ ...missingRecord(item.missing), observedTimeUnixNano }];
  return healthRecords(item.health).map((record) => ({ ...record, observedTimeUnixNano }));
}

function lineRecord({ resource, copy }: LogChunk, line: LogLine): LogRecord {
  const { text, timeMs, position, cutBytes } = line;
  return {
    timeUnixNano: timeMs * 1_000_000n,
    body: bodyOf(text),
    attributes: [
      ...attributesOf({
        "holdfast.resource.name": resource,
        "holdfast.copy.name": copy,
        // With the copy it names the line, for who must not count one twice.
        "holdfast.log.position": Number(position),
        ...(cutBytes > 0n && { "holdfast.log.cut_bytes": Number(cutBytes) }),
      }),
    ],
  };
}

function missingRecord(missing: Missing): LogRecord {
  const { resource, reason, count, bytes, firstMs, lastMs } = missing;
  const kind = TelemetryClass[missing.class]?.toLowerCase() ?? "";
  const what = count > 0 ? `${count} of ${kind}` : `${bytes} bytes of ${kind}`;
  const where = resource === "" ? "" : ` of ${resource}`;
  return {
    ...warning,
    eventName: "holdfast.telemetry.missing",
    timeUnixNano: nanos(lastMs),
    body: bodyOf(`${what}${where} are missing (${reason})`),
    attributes: [
      ...attributesOf({
        "holdfast.resource.name": resource,
        "holdfast.missing.class": kind,
        "holdfast.missing.reason": reason,
        "holdfast.missing.count": count,
        "holdfast.missing.bytes": bytes,
        "holdfast.missing.duration_ms": Math.max(0, lastMs - firstMs),
      }),
    ],
  };
}

/** Only of what somebody would want to read: the rest stands in the metrics. */
function healthRecords({ body, timeMs }: HealthSample): LogRecord[] {
  return fromBinary(HealthSampleSchema, body)
    .conditions.filter(({ type, status }) => isWorthReading(type, status))
    .map(({ type, status, reason, message }) => ({
      ...warning,
      eventName: "holdfast.condition",
      timeUnixNano: nanos(timeMs),
      body: bodyOf(message === "" ? `${type}: ${reason}` : message),
      attributes: [
        ...attributesOf({
          "holdfast.condition.type": type,
          "holdfast.condition.status": ConditionStatus[status]?.toLowerCase() ?? "",
          "holdfast.condition.reason": reason,
        }),
      ],
    }));
}

/** Drifted is the one condition that is good when it is false. */
function isWorthReading(type: string, status: ConditionStatus): boolean {
  const good = type === "Drifted" ? ConditionStatus.FALSE : ConditionStatus.TRUE;
  return status !== good;
}

const warning = { severityNumber: SeverityNumber.WARN, severityText: "WARN" };

function bodyOf(value: string) {
  return { value: { case: "stringValue" as const, value } };
}
