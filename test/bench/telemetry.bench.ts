/**
 * What a log line costs on its way: read and packed by the agent, kept by the hub's store, found again. Both ends run
 * as they do in the programs, the store in its thread; the link between them is measured elsewhere. Yardsticks: the
 * same bytes appended to one plain file, and the same lines put into SQLite one row each.
 */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { type LogChunk, LogChunkSchema } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Log } from "@holdfast/shared/log.ts";
import { chunksOf, type WaitingLine } from "../../agent/src/telemetry/encode.ts";
import { splitLines } from "../../agent/src/telemetry/lines.ts";
import { openPartition } from "../../hub/src/telemetry/partition.ts";
import type { Append, TelemetryStore } from "../../hub/src/telemetry/port.ts";
import { startTelemetryThread } from "../../hub/src/telemetry/thread.ts";
import { type BenchResult, type Figures, machine, quantile, rounded } from "./figures.ts";

const INSTANCES = 200;
/** Of one instance in one message, as an agent sends them that look twice a second. */
const CHUNK_LINES = 500;
const CHUNKS = 2_000;
/** Messages that wait for their answer at once: four of each of sixteen agents. */
const IN_FLIGHT = 64;
const QUERIES = 50;
const LINES = CHUNK_LINES * CHUNKS;
/** Of the yardstick with a row for each line. */
const ROWS = 200_000;

const VENDOR = "01980000-0000-7000-8000-00000000000a";
const CELL = "01980000-0000-7000-8000-00000000000c";
const quiet: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

const instanceId = (n: number) => `01980000-0000-7000-8000-1${String(n).padStart(11, "0")}`;

/** As programs write them: about 150 bytes of JSON, most of it alike. */
function textOf(n: number): string {
  return JSON.stringify({
    ...{ time: new Date(1_800_000_000_000 + n).toISOString(), level: "info" },
    ...{ message: "request done", path: `/v1/items/${(n * 7_919) % 1_000_003}` },
    ...{ status: 200, ms: ((n * 104_729) % 9_973) / 100, request: (n * 2_654_435_761) >>> 0 },
  });
}

export async function bench(): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-telemetry-"));
  const bounds = { ageMsMax: 7 * 86_400_000, logBytesMax: 2 ** 31, sampleBytesMax: 2 ** 29 };
  const store = startTelemetryThread({ folder: join(folder, "store"), bounds, log: quiet });
  try {
    const packed = pack();
    const kept = await keep(store, packed.chunks);
    const found = await find(store);
    const storedBytes = sizeOf(join(folder, "store", VENDOR));
    const file = appendPlain(join(folder, "plain"), packed.chunks);
    const rows = insertRows(join(folder, "rows.db"));
    const figures = {
      ...packed.figures,
      ...kept,
      ...found,
      stored_bytes_per_line: rounded(storedBytes / LINES),
    };
    const yardsticks = { ...file, ...rows, raw_bytes_per_line: rounded(packed.rawBytes / LINES) };
    const ratios = {
      stored_vs_raw_bytes: rounded(storedBytes / packed.rawBytes),
      keep_vs_row_each: rounded(
        kept.keep_cpu_us_per_line / Math.max(0.001, rows.row_each_cpu_us_per_line),
      ),
    };
    return { name: "telemetry", machine: machine(), figures, yardsticks, ratios };
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The agent's part: bytes of a log to chunks of a message. */
function pack() {
  const logs = Array.from({ length: CHUNKS }, (_, chunk) =>
    Buffer.from(
      Array.from({ length: CHUNK_LINES }, (_, n) => `${textOf(chunk * CHUNK_LINES + n)}\n`).join(
        "",
      ),
    ),
  );
  const cpu = process.cpuUsage();
  const options = { open: undefined, isEnd: false, linesMax: CHUNK_LINES };
  const chunks = logs.map((data, chunk): LogChunk => {
    const { lines } = splitLines(data, { ...options, redact: (line) => line });
    const from = Math.floor(chunk / INSTANCES) * 100_000;
    const waiting = lines.map(
      ({ text, cutBytes, end }): WaitingLine => ({
        ...{ instanceId: instanceId(chunk % INSTANCES), resource: "worker", copy: "worker-1~a" },
        ...{ timeMs: 1_800_000_000_000 + chunk, position: from + end, text, cutBytes },
      }),
    );
    const [first = {}] = chunksOf(waiting);
    return create(LogChunkSchema, first);
  });
  const us = cpuUs(cpu);
  const rawBytes = logs.reduce((sum, { length }) => sum + length, 0);
  const sentBytes = chunks.reduce((sum, { data }) => sum + data.length, 0);
  const figures = {
    pack_cpu_us_per_line: rounded(us / LINES),
    sent_bytes_per_line: rounded(sentBytes / LINES),
  };
  return { chunks, rawBytes, figures };
}

/** The hub's part, from a message to its answer. */
async function keep(store: TelemetryStore, chunks: readonly LogChunk[]) {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const answersMs: number[] = [];
  const waiting = new Set<Promise<void>>();
  for (const chunk of chunks) {
    if (waiting.size >= IN_FLIGHT) await Promise.race(waiting);
    const sentAt = performance.now();
    const kept: Promise<void> = store.append(appendOf(chunk)).then(() => {
      answersMs.push(performance.now() - sentAt);
      waiting.delete(kept);
    });
    waiting.add(kept);
  }
  await Promise.all(waiting);
  const seconds = (performance.now() - began) / 1_000;
  return {
    keep_lines_per_s: Math.round(LINES / seconds),
    keep_cpu_us_per_line: rounded(cpuUs(cpu) / LINES),
    keep_answer_p50_ms: rounded(quantile(answersMs, 0.5)),
    keep_answer_p99_ms: rounded(quantile(answersMs, 0.99)),
  };
}

function appendOf(chunk: LogChunk): Append {
  const { resource, copy, lineCount, encoding, data } = chunk;
  const stored = {
    ...{ instanceId: chunk.instanceId, resource, copy, lineCount, encoding, data },
    ...{ firstMs: Number(chunk.firstTimeMs), lastMs: Number(chunk.lastTimeMs) },
    firstPosition: Number(chunk.firstPosition),
    lastPosition: Number(chunk.lastPosition),
  };
  const ids = { vendorId: VENDOR, cellId: CELL, agentId: CELL };
  return { ...ids, chunks: [stored], health: [], metrics: [], missing: [] };
}

async function find(store: TelemetryStore): Promise<Figures> {
  const query = { vendorId: VENDOR, resource: "", startMs: 0, endMs: Number.MAX_SAFE_INTEGER };
  const latest = { newestFirst: true, contains: "", after: undefined, limit: 100 };
  const latestMs: number[] = [];
  for (let n = 0; n < QUERIES; n++) {
    const places = [{ cellId: CELL, instanceId: instanceId(n) }];
    const began = performance.now();
    const { lines } = await store.logs({ ...query, ...latest, places });
    if (lines.length !== latest.limit) throw new RangeError(`${lines.length} lines`);
    latestMs.push(performance.now() - began);
  }
  const places = Array.from({ length: INSTANCES }, (_, n) => ({
    cellId: CELL,
    instanceId: instanceId(n),
  }));
  const cpu = process.cpuUsage();
  const began = performance.now();
  let after: Parameters<TelemetryStore["logs"]>[0]["after"];
  for (let more = true; more; ) {
    const page = await store.logs({ ...query, ...latest, contains: "nowhere", places, after });
    after = page.position;
    more = page.more;
  }
  const seconds = (performance.now() - began) / 1_000;
  return {
    latest_100_p50_ms: rounded(quantile(latestMs, 0.5)),
    latest_100_p95_ms: rounded(quantile(latestMs, 0.95)),
    search_lines_per_s: Math.round(LINES / seconds),
    search_cpu_us_per_line: rounded(cpuUs(cpu) / LINES),
  };
}

function appendPlain(path: string, chunks: readonly LogChunk[]) {
  const file = openSync(path, "a");
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (const { data } of chunks) writeSync(file, data);
  const seconds = (performance.now() - began) / 1_000;
  const us = cpuUs(cpu);
  closeSync(file);
  return {
    plain_file_lines_per_s: Math.round(LINES / seconds),
    plain_file_cpu_us_per_line: rounded(us / LINES),
  };
}

function insertRows(path: string) {
  const db = openPartition(
    path,
    "create table line (source integer, time_ms integer, position integer, text text, primary key (source, time_ms, position)) strict, without rowid",
  );
  const insert = db.prepare("insert into line values (?, ?, ?, ?)");
  const texts = Array.from({ length: ROWS }, (_, n) => textOf(n));
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let from = 0; from < ROWS; from += CHUNK_LINES) {
    db.transaction(() => {
      for (let at = from; at < from + CHUNK_LINES; at++) {
        insert.run((from / CHUNK_LINES) % INSTANCES, at, at, texts[at]);
      }
    })();
  }
  const seconds = (performance.now() - began) / 1_000;
  const us = cpuUs(cpu);
  db.close();
  return {
    row_each_lines_per_s: Math.round(ROWS / seconds),
    row_each_cpu_us_per_line: rounded(us / ROWS),
    row_each_bytes_per_line: rounded(statSync(path).size / ROWS),
  };
}

function cpuUs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return user + system;
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
