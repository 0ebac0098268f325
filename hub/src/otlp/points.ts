/** How a metric of OTLP is put together. Pure. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AggregationTemporality,
  type MetricSchema,
  type NumberDataPointSchema,
} from "@holdfast/proto/opentelemetry/proto/metrics/v1/metrics_pb.js";
import { type Attribute, nanos } from "./attributes.ts";

export type Metric = MessageInitShape<typeof MetricSchema>;
export type Point = MessageInitShape<typeof NumberDataPointSchema>;

export const CUMULATIVE = AggregationTemporality.CUMULATIVE;

export type Named = Readonly<{ name: string; unit?: string; description?: string }>;

export function gaugeOf(named: Named, dataPoints: Point[]): Metric {
  return { ...named, data: { case: "gauge", value: { dataPoints } } };
}

/** Of a counter that begins again at 0 with its source. */
export function sumOf(named: Named, dataPoints: Point[]): Metric {
  const value = { dataPoints, isMonotonic: true, aggregationTemporality: CUMULATIVE };
  return { ...named, data: { case: "sum", value } };
}

export function pointOf(value: number, timeMs: number, attributes: readonly Attribute[]): Point {
  return {
    timeUnixNano: nanos(timeMs),
    attributes: [...attributes],
    value: { case: "asDouble", value },
  };
}

export function pointsIn({ data }: Metric): number {
  return data?.case === undefined ? 0 : (data.value.dataPoints?.length ?? 0);
}
