/** Log lines as a person reads them, and what is missing between them. Pure; nothing of it can drive a terminal. */
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { LogRecord, MissingRecord } from "@holdfast/proto/holdfast/api/v1/telemetry_pb.js";
import { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { escapeControls, escapeLine } from "@holdfast/shared/text.ts";

/** Time, resource, text. */
export function lineText({
  time,
  resource,
  text,
  cutBytes,
}: Pick<LogRecord, "time" | "resource" | "text" | "cutBytes">): string {
  const cut = cutBytes === 0n ? "" : ` … [${counted(cutBytes)} bytes cut]`;
  return `${timeText(time)}  ${escapeControls(resource)}  ${escapeLine(text)}${cut}\n`;
}

const THINGS: Readonly<Record<TelemetryClass, string>> = {
  [TelemetryClass.UNSPECIFIED]: "things",
  [TelemetryClass.HEALTH]: "health samples",
  [TelemetryClass.METRICS]: "points of metrics",
  [TelemetryClass.LOGS]: "lines",
};

/** `-- 1,204 lines of worker are missing between … and … (BUFFER_FULL)` */
export function missingText(note: MissingRecord): string {
  const { count, bytes, resource, reason, startTime, endTime } = note;
  const thing = THINGS[note.class] ?? "things";
  const amount = count > 0n ? `${counted(count)} ${thing}` : bytesOf(bytes, thing);
  const whose = resource === "" ? "" : ` of ${escapeControls(resource)}`;
  const span = `between ${timeText(startTime)} and ${timeText(endTime)}`;
  return `-- ${amount}${whose} are missing ${span} (${escapeControls(reason)})\n`;
}

/** Of output that is kept for a while, and only the last of it. */
export function goneText(lost: bigint): string {
  return `-- ${counted(lost)} lines before these are not kept any more\n`;
}

function bytesOf(bytes: bigint, thing: string): string {
  return bytes > 0n ? `${counted(bytes)} bytes of ${thing}` : `some ${thing}`;
}

function counted(count: bigint): string {
  return count.toLocaleString("en-US");
}

/** UTC, to the millisecond. */
function timeText(time: Timestamp | undefined): string {
  if (time === undefined) return "-".padEnd(23);
  return new Date(timestampMs(time)).toISOString().slice(0, 23).replace("T", " ");
}
