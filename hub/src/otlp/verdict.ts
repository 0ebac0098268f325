/**
 * What an answer of the collector means, by https://opentelemetry.io/docs/specs/otlp/#otlphttp-response: done, done in
 * part, to be tried again, or refused for good. Pure.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { StatusSchema } from "@holdfast/proto/google/rpc/status_pb.js";
import { ExportLogsServiceResponseSchema } from "@holdfast/proto/opentelemetry/proto/collector/logs/v1/logs_service_pb.js";
import { ExportMetricsServiceResponseSchema } from "@holdfast/proto/opentelemetry/proto/collector/metrics/v1/metrics_service_pb.js";
import { shown } from "@holdfast/shared/text.ts";
import type { Signal } from "./port.ts";

export type Answer =
  | Readonly<{
      status: number;
      contentType: string;
      retryAfter: string;
      /** As far as it was read. */
      body: Uint8Array;
    }>
  | Readonly<{ failed: string }>;

export type Verdict =
  | Readonly<{ t: "done"; rejected: number; message: string }>
  | Readonly<{ t: "again"; afterMs: number; message: string }>
  | Readonly<{ t: "refused"; message: string }>;

const RETRYABLE = [429, 502, 503, 504];
/** A collector that asks for more is asked again by then. */
export const RETRY_AFTER_MS_MAX = 300_000;

export function judge(signal: Signal, answer: Answer, nowMs: number): Verdict {
  if ("failed" in answer) return { t: "again", afterMs: 0, message: answer.failed };
  const { status } = answer;
  if (status >= 200 && status <= 299) return { t: "done", ...partOf(signal, answer) };
  const message = `HTTP ${status}${saidBy(answer)}`;
  if (!RETRYABLE.includes(status)) return { t: "refused", message };
  return { t: "again", afterMs: retryAfterMs(answer.retryAfter, nowMs), message };
}

type Said = Extract<Answer, { status: number }>;

function isProtobuf({ contentType }: Said): boolean {
  return contentType.split(";")[0]?.trim().toLowerCase() === "application/x-protobuf";
}

/** An answer that cannot be read counts as that all was taken, since the status says so. */
function partOf(signal: Signal, answer: Said): Readonly<{ rejected: number; message: string }> {
  const none = { rejected: 0, message: "" };
  if (!isProtobuf(answer)) return none;
  try {
    if (signal === "logs") {
      const { partialSuccess } = fromBinary(ExportLogsServiceResponseSchema, answer.body);
      if (partialSuccess === undefined) return none;
      const { rejectedLogRecords, errorMessage } = partialSuccess;
      return { rejected: Number(rejectedLogRecords), message: shown(errorMessage) };
    }
    const { partialSuccess } = fromBinary(ExportMetricsServiceResponseSchema, answer.body);
    if (partialSuccess === undefined) return none;
    const { rejectedDataPoints, errorMessage } = partialSuccess;
    return { rejected: Number(rejectedDataPoints), message: shown(errorMessage) };
  } catch {
    return none;
  }
}

function saidBy(answer: Said): string {
  if (!isProtobuf(answer)) return "";
  try {
    const { message } = fromBinary(StatusSchema, answer.body);
    return message === "" ? "" : `: ${shown(message)}`;
  } catch {
    return "";
  }
}

/** Seconds or a date; 0 for what is neither. */
function retryAfterMs(text: string, nowMs: number): number {
  const given = /^\d+$/.test(text.trim()) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isFinite(given) ? Math.min(Math.max(0, given), RETRY_AFTER_MS_MAX) : 0;
}
