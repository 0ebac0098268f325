/**
 * What waits to be told, by class: health before metrics before logs, and notes of losses before all. Each class has
 * its own bounds; the oldest goes when they are reached, and is counted. All of it is in memory: what an agent that
 * ends has not told of metrics and health is lost, its logs are read again from where they were.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type HealthSampleSchema,
  MetricKind,
  MissingSchema,
  type Telemetry,
  TelemetryClass,
  TelemetrySchema,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { chunksOf, type WaitingLine } from "./encode.ts";
import { type Loss, type MissingNote, MissingNotes } from "./missing.ts";
import { Ring } from "./ring.ts";

export type HealthInit = MessageInitShape<typeof HealthSampleSchema> &
  Readonly<{ instanceId: string; timeMs: bigint }>;

export type WaitingPoint = Readonly<{
  instanceId: string;
  resource: string;
  name: string;
  isCounter: boolean;
  timeMs: number;
  value: number;
}>;

export type BufferBounds = Readonly<{
  logBytesMax: number;
  logLinesMax: number;
  healthSamplesMax: number;
  metricPointsMax: number;
}>;

/** Eight minutes of 1,000 short lines a second; a day of ten series of ten instances, a minute apart. */
export const BUFFER_BOUNDS: BufferBounds = {
  logBytesMax: 16 * 1024 * 1024,
  logLinesMax: 100_000,
  healthSamplesMax: 5_000,
  metricPointsMax: 150_000,
};

/** Of one message. */
const HEALTH_SAMPLES_MAX = 64;
const METRIC_POINTS_MAX = 2_000;
const METRIC_SERIES_MAX = 256;
const NOTES_MAX = 256;
const LOG_BYTES_MAX = 64 * 1024;
/** Of a line beside its text. */
const LINE_OVERHEAD_BYTES = 48;

/** A message, and what it is about: to count it if it is lost, and to go on after it if it is not. */
export type Parcel = Readonly<{
  telemetry: Telemetry;
  lines: readonly WaitingLine[];
  losses: readonly Loss[];
  notes: readonly MissingNote[];
}>;

const sizeOfLine = ({ text }: WaitingLine) => text.length + LINE_OVERHEAD_BYTES;

export class TelemetryBuffer {
  readonly #health: Ring<HealthInit>;
  readonly #points: Ring<WaitingPoint>;
  readonly #lines: Ring<WaitingLine>;
  readonly #missing: MissingNotes;
  readonly #counted: (loss: Loss) => void;

  /** `counted` hears of each loss once. */
  constructor(
    life: string,
    bounds: BufferBounds = BUFFER_BOUNDS,
    counted: (loss: Loss) => void = () => undefined,
  ) {
    const { healthSamplesMax, metricPointsMax, logLinesMax, logBytesMax } = bounds;
    const light = Number.POSITIVE_INFINITY;
    this.#health = new Ring({ itemsMax: healthSamplesMax, weightMax: light }, () => 0);
    this.#points = new Ring({ itemsMax: metricPointsMax, weightMax: light }, () => 0);
    this.#lines = new Ring({ itemsMax: logLinesMax, weightMax: logBytesMax }, sizeOfLine);
    this.#missing = new MissingNotes(life);
    this.#counted = counted;
  }

  /** What waits, by class. */
  get waiting(): Readonly<{ logs: number; metrics: number; health: number }> {
    return {
      logs: this.#lines.size,
      metrics: this.#points.size,
      health: this.#health.size,
    };
  }

  putHealth(sample: HealthInit): void {
    for (const gone of this.#health.push(sample)) this.lost(lossOfHealth(gone, "BUFFER_FULL"));
  }

  putPoint(point: WaitingPoint): void {
    for (const gone of this.#points.push(point)) this.lost(lossOfPoint(gone, "BUFFER_FULL"));
  }

  putLine(line: WaitingLine): void {
    for (const gone of this.#lines.push(line)) this.lost(lossOfLine(gone, "BUFFER_FULL"));
  }

  lost(loss: Loss): void {
    this.#counted(loss);
    this.#missing.add(loss);
  }

  /** It will not be told: it counts as missing, and its own notes go again. */
  refused({ losses, notes }: Parcel, reason: string): void {
    for (const loss of losses) this.lost({ ...loss, reason });
    for (const note of notes) this.#missing.add(note);
  }

  /** The next message; undefined if nothing waits. */
  take(): Parcel | undefined {
    const notes = this.#missing.take(NOTES_MAX);
    const missing = notes.map(({ count, bytes, firstMs, lastMs, ...note }) =>
      create(MissingSchema, {
        ...{ ...note, count: BigInt(count), bytes: BigInt(bytes) },
        ...{ firstTimeMs: BigInt(firstMs), lastTimeMs: BigInt(lastMs) },
      }),
    );
    const parcel = this.#takeHealth() ?? this.#takePoints() ?? this.#takeLines();
    if (parcel === undefined && notes.length === 0) return undefined;
    const { message, losses, lines } = parcel ?? { message: {}, losses: [], lines: [] };
    const of = { class: notes[0]?.class ?? TelemetryClass.LOGS };
    const telemetry = create(TelemetrySchema, { ...of, ...message, missing });
    return { telemetry, lines, losses, notes };
  }

  #takeHealth(): Content | undefined {
    const health = taken(this.#health, (_, count) => count < HEALTH_SAMPLES_MAX);
    if (health.length === 0) return undefined;
    const losses = health.map((sample) => lossOfHealth(sample, ""));
    return { message: { class: TelemetryClass.HEALTH, health }, losses, lines: [] };
  }

  #takePoints(): Content | undefined {
    const series = new Map<string, WaitingPoint[]>();
    const points = taken(this.#points, (point, count) => {
      const key = seriesOf(point);
      const known = series.get(key);
      if (count >= METRIC_POINTS_MAX) return false;
      if (known === undefined && series.size >= METRIC_SERIES_MAX) return false;
      if (known === undefined) series.set(key, [point]);
      else known.push(point);
      return true;
    });
    if (points.length === 0) return undefined;
    const metrics = [...series.values()].map((each) => ({
      instanceId: each[0]?.instanceId ?? "",
      resource: each[0]?.resource ?? "",
      name: each[0]?.name ?? "",
      kind: each[0]?.isCounter === true ? MetricKind.COUNTER : MetricKind.GAUGE,
      points: each.map(({ timeMs, value }) => ({ timeMs: BigInt(timeMs), value })),
    }));
    const losses = points.map((point) => lossOfPoint(point, ""));
    return { message: { class: TelemetryClass.METRICS, metrics }, losses, lines: [] };
  }

  #takeLines(): Content | undefined {
    let bytes = 0;
    const lines = taken(this.#lines, (line) => {
      const isFirst = bytes === 0;
      bytes += sizeOfLine(line);
      return isFirst || bytes <= LOG_BYTES_MAX;
    });
    if (lines.length === 0) return undefined;
    const losses = lines.map((line) => lossOfLine(line, ""));
    const logs = [...chunksOf(lines)];
    return { message: { class: TelemetryClass.LOGS, logs }, losses, lines };
  }
}

type Content = Readonly<{
  message: MessageInitShape<typeof TelemetrySchema>;
  losses: readonly Loss[];
  lines: readonly WaitingLine[];
}>;

function taken<Item>(ring: Ring<Item>, isWanted: (item: Item, count: number) => boolean): Item[] {
  const items: Item[] = [];
  for (let next = ring.peek(); next !== undefined; next = ring.peek()) {
    if (!isWanted(next, items.length)) break;
    items.push(next);
    ring.shift();
  }
  return items;
}

function seriesOf({ instanceId, resource, name }: WaitingPoint): string {
  return `${instanceId}/${resource}/${name}`;
}

function lossOfHealth({ instanceId, timeMs }: HealthInit, reason: string): Loss {
  const at = Number(timeMs);
  const size = { count: 1, bytes: 0, firstMs: at, lastMs: at };
  return { class: TelemetryClass.HEALTH, instanceId, resource: "", reason, ...size };
}

function lossOfPoint({ instanceId, resource, timeMs }: WaitingPoint, reason: string): Loss {
  const size = { count: 1, bytes: 0, firstMs: timeMs, lastMs: timeMs };
  return { class: TelemetryClass.METRICS, instanceId, resource, reason, ...size };
}

function lossOfLine({ instanceId, resource, timeMs, text }: WaitingLine, reason: string): Loss {
  const size = { count: 1, bytes: text.length, firstMs: timeMs, lastMs: timeMs };
  return { class: TelemetryClass.LOGS, instanceId, resource, reason, ...size };
}
