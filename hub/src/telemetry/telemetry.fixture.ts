/** Appends as agents send them, for tests of the store. */
import { zstdCompressSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  LogEncoding,
  LogLinesSchema,
  TelemetryClass,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Append, LogChunk, LogQuery, Missing } from "./port.ts";

export const VENDOR = "01980000-0000-7000-8000-00000000000a";
export const CELL = "01980000-0000-7000-8000-00000000000c";
export const AGENT = "01980000-0000-7000-8000-00000000000d";
export const T0 = 1_800_000_000_000;

export function instanceId(n: number): string {
  return `01980000-0000-7000-8000-1${String(n).padStart(11, "0")}`;
}

/** `count` lines, one a millisecond, whose positions go on from `from`. */
export function chunkOf(
  texts: readonly string[],
  about: Partial<LogChunk> & { from?: number; timeMs?: number; plain?: boolean } = {},
): LogChunk {
  const { from = 0, timeMs = T0, plain = false, ...rest } = about;
  const lines = texts.map((text, index) => ({
    ...{ text, timeMs: BigInt(timeMs + index) },
    position: BigInt(from + index + 1),
  }));
  const data = toBinary(LogLinesSchema, create(LogLinesSchema, { lines }));
  return {
    ...{ instanceId: instanceId(1), resource: "worker", copy: "worker-1.1-r0" },
    ...{ firstMs: timeMs, lastMs: timeMs + texts.length - 1 },
    ...{ firstPosition: from + 1, lastPosition: from + texts.length, lineCount: texts.length },
    encoding: plain ? LogEncoding.PLAIN : LogEncoding.ZSTD,
    data: plain ? data : new Uint8Array(zstdCompressSync(data)),
    ...rest,
  };
}

export function appendOf(parts: Partial<Append>): Append {
  const ids = { vendorId: VENDOR, cellId: CELL, agentId: AGENT };
  return { ...ids, chunks: [], health: [], metrics: [], missing: [], ...parts };
}

export function missingOf(id: string, about: Partial<Missing> = {}): Missing {
  const place = { instanceId: instanceId(1), resource: "worker", class: TelemetryClass.LOGS };
  const lost = { reason: "BUFFER_FULL", count: 1_204, bytes: 9, firstMs: T0, lastMs: T0 + 10 };
  return { id, ...place, ...lost, ...about };
}

export function queryOf(about: Partial<LogQuery> = {}): LogQuery {
  return {
    vendorId: VENDOR,
    places: [{ cellId: CELL, instanceId: instanceId(1) }],
    ...{ resource: "", contains: "", newestFirst: false, after: undefined, limit: 100 },
    ...{ startMs: 0, endMs: Number.MAX_SAFE_INTEGER },
    ...about,
  };
}
