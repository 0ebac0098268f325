/**
 * The telemetry store itself: appends and queries, one vendor's files apart from another's. Synchronous, so it runs
 * in a thread of its own. What is appended is in the hands of the operating system when `append` returns; `sync`
 * brings it to the disk.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { isUuid } from "@holdfast/shared/ids.ts";
import { LOG_SCHEMA, LogPartition, type SourceKey } from "./log-partition.ts";
import { queryLogs } from "./log-query.ts";
import { bucketsOf, type Point } from "./metric-buckets.ts";
import { isFull } from "./partition.ts";
import type { Family } from "./partition-name.ts";
import { Partitions } from "./partitions.ts";
import type {
  Append,
  HealthPage,
  HealthQuery,
  LogChunk,
  LogPage,
  LogPosition,
  LogQuery,
  MetricPage,
  MetricQuery,
  MissingQuery,
  StoredMissing,
  TelemetryBounds,
  TelemetrySize,
} from "./port.ts";
import { SAMPLE_SCHEMA, SamplePartition, type SeriesRow } from "./sample-partition.ts";

/** Copies whose last position is remembered; others are looked up. */
const POSITIONS_MAX = 100_000;

export type EngineDeps = Readonly<{
  /** Below it one folder for each vendor. */
  folder: string;
  bounds: TelemetryBounds;
  now(): number;
  /** For the log: something was removed, or set aside. */
  note(what: "removed" | "damaged", vendorId: string, file: string): void;
}>;

type VendorFiles = Readonly<{
  logs: Partitions<LogPartition>;
  samples: Partitions<SamplePartition>;
}>;

export class TelemetryEngine {
  readonly #deps: EngineDeps;
  readonly #vendors = new Map<string, VendorFiles>();
  readonly #positions = new Map<string, number>();

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    mkdirSync(deps.folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(deps.folder).filter(isUuid)) this.#filesOf(name);
  }

  /** Throws RESOURCE_EXHAUSTED `STORE_FULL` when the disk has no room. */
  append(append: Append): void {
    const { logs, samples } = this.#filesOf(append.vendorId);
    try {
      if (append.chunks.length > 0) this.#appendLogs(logs, append);
      const { health, metrics, missing } = append;
      if (health.length + metrics.length + missing.length > 0) {
        samples.write(sizeOf(append), (partition) => partition.append(append));
      }
    } catch (error) {
      if (!isFull(error)) throw error;
      throw new Fault("RESOURCE_EXHAUSTED", "STORE_FULL", "the telemetry store has no room left", {
        cause: error,
      });
    }
  }

  logs(query: LogQuery): LogPage {
    return queryLogs(this.#filesOf(query.vendorId).logs, query);
  }

  missing(query: MissingQuery): readonly StoredMissing[] {
    const { samples, logs } = this.#filesOf(query.vendorId);
    const found = new Map<string, StoredMissing>();
    for (const name of samples.names()) {
      const partition = samples.open(name);
      for (const place of query.places) {
        const notes = partition?.missing(place, query.resource, query, query.limit) ?? [];
        for (const { id, ...note } of notes) found.set(id, note);
      }
    }
    return [...found.values(), ...this.#damagedFiles(logs, query)]
      .sort((a, b) => b.lastMs - a.lastMs)
      .slice(0, query.limit);
  }

  health({ vendorId, place, startMs, endMs, beforeMs, limit }: HealthQuery): HealthPage {
    const { samples } = this.#filesOf(vendorId);
    const range = { startMs, endMs: Math.min(endMs, beforeMs ?? endMs) };
    const found = new Map<number, HealthPage["samples"][number]>();
    for (const name of samples.names()) {
      for (const sample of samples.open(name)?.health(place, range, limit) ?? []) {
        found.set(sample.timeMs, sample);
      }
    }
    const newest = [...found.values()].sort((a, b) => b.timeMs - a.timeMs).slice(0, limit);
    return { samples: newest, keptSinceMs: keptSince(samples) };
  }

  metrics({ vendorId, place, resource, names, stepMs, limit, ...range }: MetricQuery): MetricPage {
    const { samples } = this.#filesOf(vendorId);
    const found = new Map<string, SeriesRow & { points: Point[] }>();
    for (const name of samples.names()) {
      const partition = samples.open(name);
      for (const series of partition?.series(place, resource, names) ?? []) {
        const key = `${series.resource}/${series.name}`;
        const known = found.get(key) ?? { ...series, points: [] };
        known.points.push(...(partition?.points(series.id, range) ?? []));
        found.set(key, known);
      }
    }
    const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
    const series = sorted.map(([, each]) => ({
      resource: each.resource,
      name: each.name,
      kind: each.kind,
      buckets: bucketsOf(each.points, range, stepMs),
    }));
    const keptSinceMs = keptSince(samples);
    return { series: series.filter(({ buckets }) => buckets.length > 0), keptSinceMs };
  }

  end(vendorId: string): LogPosition | undefined {
    const { logs } = this.#filesOf(vendorId);
    const name = logs.names().at(-1);
    if (name === undefined) return undefined;
    const chunk = logs.open(name)?.lastId() ?? 0;
    return { partition: name, chunk, line: Number.MAX_SAFE_INTEGER };
  }

  size(): TelemetrySize {
    const all = [...this.#vendors.values()];
    const bytesOf = (files: Pick<Partitions<LogPartition>, "files">) =>
      files.files().reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      logBytes: all.reduce((sum, { logs }) => sum + bytesOf(logs), 0),
      sampleBytes: all.reduce((sum, { samples }) => sum + bytesOf(samples), 0),
    };
  }

  /** To the disk; what an abrupt end of the machine can take is what came since. */
  sync(): void {
    for (const { logs, samples } of this.#vendors.values()) {
      logs.sync();
      samples.sync();
    }
  }

  /** Removes what is too old or too much. */
  sweep(): void {
    for (const [vendorId, { logs, samples }] of this.#vendors) {
      for (const file of [...logs.sweep(), ...samples.sweep()]) {
        this.#deps.note("removed", vendorId, file);
      }
    }
  }

  close(): void {
    for (const { logs, samples } of this.#vendors.values()) {
      logs.close();
      samples.close();
    }
    this.#vendors.clear();
  }

  #appendLogs(logs: Partitions<LogPartition>, { cellId, chunks, vendorId }: Append): void {
    const taken = new Map<string, number>();
    logs.write(sizeOfChunks(chunks), (partition) => {
      taken.clear();
      for (const chunk of chunks) {
        const key = { cellId, ...chunk };
        const name = [vendorId, cellId, chunk.instanceId, chunk.resource, chunk.copy].join("/");
        const before = taken.get(name) ?? this.#positions.get(name) ?? lastPosition(logs, key);
        if (before !== undefined && chunk.lastPosition <= before) continue;
        partition.append(cellId, chunk, before ?? -1);
        taken.set(name, chunk.lastPosition);
      }
    });
    if (this.#positions.size + taken.size > POSITIONS_MAX) this.#positions.clear();
    for (const [name, position] of taken) this.#positions.set(name, position);
  }

  #damagedFiles(logs: Partitions<LogPartition>, query: MissingQuery): readonly StoredMissing[] {
    const files = logs.files();
    return files.flatMap(({ isDamaged, startMs, bytes }, index): StoredMissing[] => {
      const endMs = files[index + 1]?.startMs ?? this.#deps.now();
      if (!isDamaged || startMs >= query.endMs || endMs < query.startMs) return [];
      const about = { instanceId: "", resource: "", class: TelemetryClass.LOGS, count: 0, bytes };
      return [{ ...about, reason: "STORE_DAMAGED", firstMs: startMs, lastMs: endMs }];
    });
  }

  #filesOf(vendorId: string): VendorFiles {
    const known = this.#vendors.get(vendorId);
    if (known !== undefined) return known;
    const { bounds, folder, now, note } = this.#deps;
    const common = (family: Family, bytesMax: number) => ({
      ...{ family, now, folder: join(folder, vendorId) },
      bounds: { ageMsMax: bounds.ageMsMax, bytesMax },
      damaged: (file: string) => note("damaged", vendorId, file),
    });
    const files: VendorFiles = {
      logs: new Partitions({
        ...common("logs", bounds.logBytesMax),
        schema: LOG_SCHEMA,
        open: (db) => new LogPartition(db),
      }),
      samples: new Partitions({
        ...common("samples", bounds.sampleBytesMax),
        schema: SAMPLE_SCHEMA,
        open: (db) => new SamplePartition(db),
      }),
    };
    this.#vendors.set(vendorId, files);
    return files;
  }
}

/** How far a copy's lines were taken: it writes on in the partition after the one that it began in. */
function lastPosition(logs: Partitions<LogPartition>, key: SourceKey): number | undefined {
  for (const name of logs.names().toReversed().slice(0, 2)) {
    const position = logs.open(name)?.lastPosition(key);
    if (position !== undefined) return position;
  }
  return undefined;
}

function keptSince(partitions: Pick<Partitions<LogPartition>, "files">): number | undefined {
  return partitions.files()[0]?.startMs;
}

/** Of a row beside its data. */
const ROW_BYTES = 64;

function sizeOfChunks(chunks: readonly LogChunk[]): number {
  return chunks.reduce((sum, { data }) => sum + data.length + ROW_BYTES, 0);
}

function sizeOf({ health, metrics, missing }: Append): number {
  const points = metrics.reduce((sum, series) => sum + series.points.length, 0);
  const bodies = health.reduce((sum, { body }) => sum + body.length + ROW_BYTES, 0);
  return bodies + (points + missing.length) * ROW_BYTES;
}
