/**
 * What waits to be sent, as small as it came: a chunk of logs stays compressed until its request is made. Pure.
 */
import type { Append, HealthSample, LogChunk, MetricSeries, Missing } from "../telemetry/port.ts";
import type { HubMetric, Owner, Signal } from "./port.ts";

/** Of one instance, told by one agent at one time of the hub's clock. */
type About = Readonly<{ owner: Owner; agentId: string; takenMs: number }>;

export type LogItem = About &
  Readonly<{ chunk: LogChunk } | { missing: Missing } | { health: HealthSample }>;
export type MetricItem =
  | (About & Readonly<{ series: MetricSeries } | { health: HealthSample }>)
  | Readonly<{ hub: readonly HubMetric[]; startMs: number; takenMs: number }>;
export type Item = LogItem | MetricItem;

/** `weight`: records as far as is known before it is opened; `bytes`: in memory, about. */
export type Weighed = Readonly<{ signal: Signal; item: Item; weight: number; bytes: number }>;

/** Beside data and texts. */
const ITEM_BYTES = 512;
const POINT_BYTES = 32;
const SERIES_BYTES = 256;

export type Sorted = Readonly<{
  items: readonly Weighed[];
  /** Records about instances that are not in the cell of who told. */
  unknown: Readonly<Record<Signal, number>>;
}>;

/** An agent is believed about its own cell alone; `owners` are by instance. */
export function itemsOf(
  append: Append,
  takenMs: number,
  owners: ReadonlyMap<string, Owner>,
): Sorted {
  const { cellId, agentId } = append;
  const unknown = { logs: 0, metrics: 0 };
  const items: Weighed[] = [];
  for (const { signal, instanceId, of, weight, bytes } of entriesOf(append)) {
    const owner = owners.get(instanceId);
    if (owner === undefined || owner.cellId !== cellId) unknown[signal] += weight;
    else {
      const item = { owner, agentId, takenMs, ...of };
      items.push({ signal, item, weight, bytes: bytes + ITEM_BYTES });
    }
  }
  return { items, unknown };
}

/** As far as is known before it is opened. */
export function recordsIn(append: Append): Readonly<Record<Signal, number>> {
  const records = { logs: 0, metrics: 0 };
  for (const { signal, weight } of entriesOf(append)) records[signal] += weight;
  return records;
}

type Entry = Omit<Weighed, "item"> & Readonly<{ instanceId: string; of: Told }>;
type Told =
  | Readonly<{ chunk: LogChunk }>
  | Readonly<{ missing: Missing }>
  | Readonly<{ series: MetricSeries }>
  | Readonly<{ health: HealthSample }>;

function entriesOf({ chunks, missing, metrics, health }: Append): readonly Entry[] {
  const of = (signal: Signal, { instanceId }: Place, entry: Omit<Entry, "signal" | "instanceId">) =>
    ({ signal, instanceId, ...entry }) as const;
  return [
    ...chunks.map((chunk) =>
      of("logs", chunk, { of: { chunk }, weight: chunk.lineCount, bytes: chunk.data.length }),
    ),
    ...missing.map((note) => of("logs", note, { of: { missing: note }, weight: 1, bytes: 0 })),
    ...metrics.map((series) => {
      const { length } = series.points;
      return of("metrics", series, { of: { series }, weight: length, bytes: length * POINT_BYTES });
    }),
    ...health.flatMap((sample) => {
      const entry = { of: { health: sample }, weight: 1, bytes: sample.body.length };
      return [of("logs", sample, entry), of("metrics", sample, entry)];
    }),
  ];
}

type Place = Readonly<{ instanceId: string }>;

export function hubItem(hub: readonly HubMetric[], startMs: number, takenMs: number): Weighed {
  const values = hub.reduce((sum, metric) => sum + metric.values.length, 0);
  return {
    ...{ signal: "metrics", item: { hub, startMs, takenMs }, weight: hub.length },
    bytes: values * SERIES_BYTES,
  };
}
