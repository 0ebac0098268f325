/**
 * What the hub asks of its telemetry store, in plain values that cross a thread. The store knows vendors, cells and
 * instances as ids alone: who may see which instance is decided in PostgreSQL before it is asked, and it answers for
 * the pairs of cell and instance that it is given and for nothing else.
 */

/** An instance in the cell that tells of it: an agent of another cell cannot put anything beside it. */
export type Place = Readonly<{ cellId: string; instanceId: string }>;

export type LogChunk = Readonly<{
  instanceId: string;
  resource: string;
  copy: string;
  firstMs: number;
  lastMs: number;
  firstPosition: number;
  lastPosition: number;
  lineCount: number;
  encoding: number;
  data: Uint8Array;
}>;

export type HealthSample = Readonly<{ instanceId: string; timeMs: number; body: Uint8Array }>;

export type MetricSeries = Readonly<{
  instanceId: string;
  resource: string;
  name: string;
  kind: number;
  points: readonly Readonly<{ timeMs: number; value: number }>[];
}>;

export type Missing = Readonly<{
  id: string;
  instanceId: string;
  resource: string;
  class: number;
  reason: string;
  count: number;
  bytes: number;
  firstMs: number;
  lastMs: number;
}>;

/** What one agent sent in one message. */
export type Append = Readonly<{
  vendorId: string;
  cellId: string;
  agentId: string;
  chunks: readonly LogChunk[];
  health: readonly HealthSample[];
  metrics: readonly MetricSeries[];
  missing: readonly Missing[];
}>;

/** Where a reader of logs is: after this line of this chunk of this partition. */
export type LogPosition = Readonly<{ partition: string; chunk: number; line: number }>;

export type Range = Readonly<{ startMs: number; endMs: number }>;

export type LogQuery = Range &
  Readonly<{
    vendorId: string;
    places: readonly Place[];
    resource: string;
    /** Literal text; empty: every line. */
    contains: string;
    newestFirst: boolean;
    after: LogPosition | undefined;
    limit: number;
  }>;

export type StoredLine = Readonly<{
  instanceId: string;
  resource: string;
  copy: string;
  timeMs: number;
  text: string;
  cutBytes: number;
}>;

export type StoredMissing = Omit<Missing, "id">;

export type LogPage = Readonly<{
  lines: readonly StoredLine[];
  /** What was found to be unreadable on the way. */
  damaged: readonly StoredMissing[];
  /** Where to go on; the one given where nothing was looked at. */
  position: LogPosition | undefined;
  /** Whether there may be more after `position`. */
  more: boolean;
  keptSinceMs: number | undefined;
}>;

export type MissingQuery = Range &
  Readonly<{ vendorId: string; places: readonly Place[]; resource: string; limit: number }>;

export type HealthQuery = Range &
  Readonly<{ vendorId: string; place: Place; beforeMs: number | undefined; limit: number }>;

export type HealthPage = Readonly<{
  samples: readonly Readonly<{ timeMs: number; body: Uint8Array }>[];
  keptSinceMs: number | undefined;
}>;

export type MetricQuery = Range &
  Readonly<{
    vendorId: string;
    place: Place;
    resource: string;
    names: readonly string[];
    stepMs: number;
    limit: number;
  }>;

export type MetricBucket = Readonly<{
  startMs: number;
  min: number;
  max: number;
  mean: number;
  last: number;
}>;

export type MetricPage = Readonly<{
  series: readonly Readonly<{
    resource: string;
    name: string;
    kind: number;
    buckets: readonly MetricBucket[];
  }>[];
  keptSinceMs: number | undefined;
}>;

/** How much is kept, for each vendor. */
export type TelemetryBounds = Readonly<{
  ageMsMax: number;
  logBytesMax: number;
  sampleBytesMax: number;
}>;

/** Of all vendors, on disk. */
export type TelemetrySize = Readonly<{ logBytes: number; sampleBytes: number }>;

export interface TelemetryStore {
  /** Of appends that are not kept yet. */
  readonly waitingBytes: number;
  size(): Promise<TelemetrySize>;
  /** Resolves once all of it is in the hands of the operating system. Throws a Fault; then none of it counts as kept. */
  append(append: Append): Promise<void>;
  logs(query: LogQuery): Promise<LogPage>;
  /** Latest first. */
  missing(query: MissingQuery): Promise<readonly StoredMissing[]>;
  /** Newest first. */
  health(query: HealthQuery): Promise<HealthPage>;
  metrics(query: MetricQuery): Promise<MetricPage>;
  /** Where a reader is who wants only what comes from now on. */
  end(vendorId: string): Promise<LogPosition | undefined>;
  /** Rings when something of one of these instances was kept. Returns how to stop listening. */
  listen(vendorId: string, instanceIds: ReadonlySet<string>, ring: () => void): () => void;
  close(): Promise<void>;
}
