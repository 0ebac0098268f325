/** The range of a query of telemetry. Pure. */
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Range } from "../../telemetry/port.ts";
import { refuse } from "../refusal.ts";

/** Before 1970 nothing was told. Throws INVALID_ARGUMENT `RANGE_EMPTY`. */
export function rangeOf(
  {
    startTime,
    endTime,
  }: Readonly<{ startTime?: Timestamp | undefined; endTime?: Timestamp | undefined }>,
  fallback: Range,
): Range {
  const startMs = startTime === undefined ? fallback.startMs : Math.max(0, timestampMs(startTime));
  const endMs = endTime === undefined ? fallback.endMs : timestampMs(endTime);
  if (endMs > startMs || endTime === undefined) return { startMs, endMs: Math.max(startMs, endMs) };
  throw refuse("end_time", "must be after start_time", "RANGE_EMPTY");
}
