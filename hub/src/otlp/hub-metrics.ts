/** The hub's own metrics, under the names that a scrape gives them, as metrics of OTLP. Pure. */
import { attributesOf, nanos } from "./attributes.ts";
import { CUMULATIVE, gaugeOf, type Metric, pointOf, sumOf } from "./points.ts";
import type { HubMetric } from "./port.ts";

type Value = HubMetric["values"][number];

/** `startMs`: since when the counters count. */
export function hubMetrics(
  metrics: readonly HubMetric[],
  startMs: number,
  timeMs: number,
): Metric[] {
  return metrics.flatMap((metric) => {
    const { name, help: description, type, values } = metric;
    if (values.length === 0) return [];
    if (type === "histogram") return [histogramOf(metric, startMs, timeMs)];
    const points = values.map(({ value, labels }) => pointOf(value, timeMs, attributesOf(labels)));
    if (type === "gauge") return [gaugeOf({ name, description }, points)];
    if (type !== "counter") return [];
    const startTimeUnixNano = nanos(startMs);
    return [
      sumOf(
        { name, description },
        points.map((point) => ({ ...point, startTimeUnixNano })),
      ),
    ];
  });
}

function histogramOf(metric: HubMetric, startMs: number, timeMs: number): Metric {
  const { name, help: description, values } = metric;
  const byLabels = Map.groupBy(values, ({ labels: { le: _, ...labels } }) =>
    JSON.stringify(labels),
  );
  const dataPoints = [...byLabels].map(([labels, of]) => ({
    startTimeUnixNano: nanos(startMs),
    timeUnixNano: nanos(timeMs),
    attributes: [...attributesOf(JSON.parse(labels) as Value["labels"])],
    ...bucketsOf(name, of),
  }));
  const value = { dataPoints, aggregationTemporality: CUMULATIVE };
  return { name, description, data: { case: "histogram", value } };
}

/** A scrape has buckets that each hold those below; here each holds its own. */
function bucketsOf(name: string, values: readonly Value[]) {
  const of = (part: string) => values.filter(({ metricName }) => metricName === `${name}_${part}`);
  const upTo = of("bucket")
    .map(({ value, labels }) => ({ bound: Number(labels["le"]), value }))
    .map(({ bound, value }) => ({ bound: Number.isNaN(bound) ? Infinity : bound, value }))
    .sort((a, b) => a.bound - b.bound);
  const [count, sum] = [of("count")[0]?.value ?? 0, of("sum")[0]?.value ?? 0];
  return {
    count: BigInt(count),
    sum,
    bucketCounts: upTo.map(({ value }, at) => BigInt(value - (upTo[at - 1]?.value ?? 0))),
    explicitBounds: upTo.map(({ bound }) => bound).filter((bound) => bound !== Infinity),
  };
}
