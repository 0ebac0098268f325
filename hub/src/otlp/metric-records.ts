/** What agents measure, how instances are, and what the hub counts about itself, as metrics of OTLP. Pure. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { HealthSampleSchema, MetricKind } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { ExportMetricsServiceRequestSchema } from "@holdfast/proto/opentelemetry/proto/collector/metrics/v1/metrics_service_pb.js";
import type { HealthSample, MetricSeries } from "../telemetry/port.ts";
import { attributesOf, hubResource, type Maker, resourceOf, scopeOf } from "./attributes.ts";
import { hubMetrics } from "./hub-metrics.ts";
import type { MetricItem } from "./item.ts";
import type { Part } from "./log-records.ts";
import { gaugeOf, type Metric, pointOf, pointsIn, sumOf } from "./points.ts";

/** Of the names that every agent measures; the unit of a meter is in the release. */
const UNITS: Readonly<Record<string, string>> = {
  cpu_cores: "{cpu}",
  memory_mib: "MiBy",
  restarts: "{restart}",
  probe_ms: "ms",
};

export function metricParts(item: MetricItem, maker: Maker): readonly Part[] {
  const metrics = metricsOf(item);
  const records = metrics.reduce((sum, metric) => sum + pointsIn(metric), 0);
  if (records === 0) return [];
  const resource = "hub" in item ? hubResource(maker) : resourceOf(item.owner, item.agentId);
  const scopeMetrics = [{ scope: scopeOf(maker), metrics }];
  const request = create(ExportMetricsServiceRequestSchema, {
    resourceMetrics: [{ resource, scopeMetrics }],
  });
  return [{ bytes: toBinary(ExportMetricsServiceRequestSchema, request), records }];
}

function metricsOf(item: MetricItem): Metric[] {
  if ("hub" in item) return hubMetrics(item.hub, item.startMs, item.takenMs);
  return "series" in item ? [workloadMetric(item.series)] : healthMetrics(item.health);
}

function workloadMetric({ resource, name, kind, points }: MetricSeries): Metric {
  const attributes = attributesOf({ "holdfast.resource.name": resource });
  const dataPoints = points.map(({ timeMs, value }) => pointOf(value, timeMs, attributes));
  const named = { name: `holdfast.workload.${name}`, unit: UNITS[name] ?? "" };
  return kind === MetricKind.COUNTER ? sumOf(named, dataPoints) : gaugeOf(named, dataPoints);
}

/** 1 for true and 0 for false; what is unknown has no point. */
function healthMetrics({ body, timeMs }: HealthSample): Metric[] {
  const { conditions, resources } = fromBinary(HealthSampleSchema, body);
  const known = conditions.filter(
    ({ status }) => status === ConditionStatus.TRUE || status === ConditionStatus.FALSE,
  );
  const metrics = [
    gaugeOf(
      { name: "holdfast.instance.condition", description: "1: it is so, 0: it is not" },
      known.map(({ type, status }) => {
        const attributes = attributesOf({ "holdfast.condition.type": type });
        return pointOf(status === ConditionStatus.TRUE ? 1 : 0, timeMs, attributes);
      }),
    ),
    gaugeOf(
      { name: "holdfast.resource.ready", description: "1: in the phase ready" },
      resources.map(({ id, phase }) => {
        const attributes = attributesOf({
          "holdfast.resource.name": id,
          "holdfast.resource.phase": phase,
        });
        return pointOf(phase === "ready" ? 1 : 0, timeMs, attributes);
      }),
    ),
  ];
  return metrics.filter((metric) => pointsIn(metric) > 0);
}
