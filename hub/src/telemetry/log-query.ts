/**
 * A page of lines over partitions, in the order of arrival or against it. What is opened for one page is bounded:
 * a search that finds nothing comes back with where it got to.
 */
import { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { linesOf } from "./log-data.ts";
import {
  HEADERS_MAX,
  type LogPartition,
  type SourceKey,
  type StoredChunk,
} from "./log-partition.ts";
import { isDamage } from "./partition.ts";
import { parseName } from "./partition-name.ts";
import type { Partitions } from "./partitions.ts";
import type { LogPage, LogPosition, LogQuery, StoredLine, StoredMissing } from "./port.ts";

/** Of chunks that are opened for one page. */
const SCAN_BYTES_MAX = 16 * 1024 * 1024;
/** How far an agent's clock may be ahead of ours without its lines being looked for in vain. */
const SKEW_MS_MAX = 3_600_000;

type Found = {
  readonly lines: StoredLine[];
  readonly damaged: StoredMissing[];
  position: LogPosition | undefined;
  scannedBytes: number;
};

export function queryLogs(partitions: Partitions<LogPartition>, query: LogQuery): LogPage {
  const found: Found = { lines: [], damaged: [], position: query.after, scannedBytes: 0 };
  const names = partitions.names();
  const [oldest] = names;
  const keptSinceMs = oldest === undefined ? undefined : parseName("logs", oldest, 0)?.startMs;
  let more = false;
  for (const name of inOrder(names, query)) {
    try {
      more = searchPartition(partitions, name, query, found);
    } catch (error) {
      if (!isDamage(error)) throw error;
      partitions.setAside(name);
    }
    if (more) break;
  }
  const { lines, damaged, position } = found;
  return { lines, damaged, position, more, keptSinceMs };
}

/** Those that can hold lines of the range, from the reader's position on. */
function inOrder(names: readonly string[], query: LogQuery): readonly string[] {
  const { after, newestFirst, startMs } = query;
  const reached = names.filter((_, index) => {
    // A partition ends where the next one begins.
    const next = names[index + 1];
    const endMs = next === undefined ? undefined : parseName("logs", next, 0)?.startMs;
    return endMs === undefined || endMs + SKEW_MS_MAX >= startMs;
  });
  const ordered = newestFirst ? reached.toReversed() : reached;
  if (after === undefined) return ordered;
  return ordered.filter((name) =>
    newestFirst ? name <= after.partition : name >= after.partition,
  );
}

/** Whether the page is full. */
function searchPartition(
  partitions: Partitions<LogPartition>,
  name: string,
  query: LogQuery,
  found: Found,
): boolean {
  const partition = partitions.open(name);
  const sources = partition?.sources(query.places, query.resource);
  if (partition === undefined || sources === undefined || sources.size === 0) return false;
  const { newestFirst, after } = query;
  const ids = [...sources.keys()];
  const first = newestFirst ? Number.MAX_SAFE_INTEGER : 0;
  for (let from = after?.partition === name ? after.chunk : first; ; ) {
    const headers = partition.headers(ids, query, { newestFirst, from, limit: HEADERS_MAX });
    for (const { id, source } of headers) {
      const chunk = partition.chunk(id);
      const key = sources.get(source);
      if (chunk === undefined || key === undefined) continue;
      if (takeChunk({ name, id, chunk, key }, query, found)) return true;
    }
    const last = headers.at(-1);
    if (headers.length < HEADERS_MAX || last === undefined) return false;
    from = newestFirst ? last.id - 1 : last.id + 1;
  }
}

type Opened = Readonly<{ name: string; id: number; chunk: StoredChunk; key: SourceKey }>;

/** Whether the page is full. */
function takeChunk({ name, id, chunk, key }: Opened, query: LogQuery, found: Found): boolean {
  const { newestFirst, after, contains, startMs, endMs, limit } = query;
  found.scannedBytes += chunk.data?.length ?? 0;
  const lines =
    chunk.data === undefined ? undefined : linesOf(chunk.encoding, chunk.data, contains);
  if (lines === undefined) found.damaged.push(damagedIn(chunk, key));
  const count = lines?.length ?? 0;
  const end = newestFirst ? -1 : Number.MAX_SAFE_INTEGER;
  const before = after?.partition === name && after.chunk === id ? after.line : undefined;
  const step = newestFirst ? -1 : 1;
  const begin = newestFirst ? count - 1 : 0;
  for (let at = before === undefined ? begin : before + step; at >= 0 && at < count; at += step) {
    const line = lines?.[at];
    if (line === undefined || Number(line.position) <= chunk.skipPosition) continue;
    const timeMs = Number(line.timeMs);
    if (timeMs < startMs || timeMs >= endMs || !line.text.includes(contains)) continue;
    const { instanceId, resource, copy } = key;
    const { text } = line;
    found.lines.push({ instanceId, resource, copy, timeMs, text, cutBytes: Number(line.cutBytes) });
    found.position = { partition: name, chunk: id, line: at };
    if (found.lines.length >= limit) return true;
  }
  found.position = { partition: name, chunk: id, line: end };
  return found.scannedBytes >= SCAN_BYTES_MAX;
}

function damagedIn(chunk: StoredChunk, { instanceId, resource }: SourceKey): StoredMissing {
  const { lineCount, firstMs, lastMs } = chunk;
  return {
    ...{ instanceId, resource, firstMs, lastMs },
    class: TelemetryClass.LOGS,
    reason: "STORE_DAMAGED",
    count: lineCount,
    bytes: 0,
  };
}
