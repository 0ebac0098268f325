/** The tables of a log partition: sources, and their chunks in the order in which they arrived. Chunks are only added. */
import { CHUNK_BYTES_MAX, checksumOf } from "./log-data.ts";
import type { Sql, Statement } from "./partition.ts";
import type { LogChunk, Place, Range } from "./port.ts";

export const LOG_SCHEMA = `
create table if not exists source (
  id integer primary key,
  cell text not null, instance text not null, resource text not null, copy text not null,
  unique (cell, instance, resource, copy)
) strict;
create table if not exists chunk (
  id integer primary key autoincrement,
  source integer not null,
  first_ms integer not null, last_ms integer not null, last_position integer not null,
  -- Lines up to here were stored before.
  skip_position integer not null,
  line_count integer not null, encoding integer not null, checksum integer not null,
  data blob not null
) strict;
create index if not exists chunk_of_source on chunk (source, last_ms);
`;

/** Sources that one query may be about; a cell with more is asked for by instance. */
export const SOURCES_MAX = 20_000;
/** Chunk headers that are held at once. */
export const HEADERS_MAX = 4_000;

export type SourceKey = Readonly<{
  cellId: string;
  instanceId: string;
  resource: string;
  copy: string;
}>;

export type ChunkHeader = Readonly<{ id: number; source: number }>;

export type StoredChunk = Readonly<{
  skipPosition: number;
  lineCount: number;
  firstMs: number;
  lastMs: number;
  encoding: number;
  /** Undefined if the bytes are not those that were stored. */
  data: Uint8Array | undefined;
}>;

type ChunkRow = Omit<StoredChunk, "data"> & { checksum: number; data: Buffer };

export class LogPartition {
  readonly db: Sql;
  readonly #insert: Statement;
  readonly #select: Statement;
  readonly #sources = new Map<string, number>();

  constructor(db: Sql) {
    this.db = db;
    this.#insert = db.prepare(
      `insert into chunk (source, first_ms, last_ms, last_position, skip_position, line_count, encoding, checksum, data)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#select = db.prepare(
      `select skip_position as "skipPosition", line_count as "lineCount", first_ms as "firstMs",
              last_ms as "lastMs", encoding, checksum, data from chunk where id = ?`,
    );
  }

  /** Where the source's last chunk here ends; undefined for none. */
  lastPosition(key: SourceKey): number | undefined {
    const row = this.db
      .prepare<unknown[], { position: number | null }>(
        `select max(last_position) as position from chunk
          where source = (select id from source where cell = ? and instance = ? and resource = ? and copy = ?)`,
      )
      .get(key.cellId, key.instanceId, key.resource, key.copy);
    return row?.position ?? undefined;
  }

  append(cellId: string, chunk: LogChunk, skipPosition: number): void {
    this.#insert.run(
      this.#sourceId({ ...chunk, cellId }),
      ...[chunk.firstMs, chunk.lastMs, chunk.lastPosition, skipPosition, chunk.lineCount],
      ...[chunk.encoding, checksumOf(chunk.data), chunk.data],
    );
  }

  /** A transaction was undone: what was learned in it is not so. */
  forget(): void {
    this.#sources.clear();
  }

  sources(places: readonly Place[], resource: string): ReadonlyMap<number, SourceKey> {
    const pairs = JSON.stringify(places.map(({ cellId, instanceId }) => [cellId, instanceId]));
    const rows = this.db
      .prepare<unknown[], SourceKey & { id: number }>(
        `select s.id, s.cell as "cellId", s.instance as "instanceId", s.resource, s.copy
           from json_each(?) as place
           join source s on s.cell = place.value ->> 0 and s.instance = place.value ->> 1
          where ? = '' or s.resource = ?
          limit ${SOURCES_MAX}`,
      )
      .all(pairs, resource, resource);
    return new Map(rows.map(({ id, ...key }) => [id, key]));
  }

  /** The next headers in the order of arrival, or against it. */
  headers(
    sources: readonly number[],
    range: Range,
    way: Readonly<{ newestFirst: boolean; from: number; limit: number }>,
  ): readonly ChunkHeader[] {
    const [order, beyond] = way.newestFirst ? ["desc", "<="] : ["asc", ">="];
    return this.db
      .prepare<unknown[], ChunkHeader>(
        `select id, source from chunk
          where source in (select value from json_each(?)) and last_ms >= ? and first_ms < ? and id ${beyond} ?
          order by id ${order} limit ?`,
      )
      .all(JSON.stringify(sources), range.startMs, range.endMs, way.from, way.limit);
  }

  chunk(id: number): StoredChunk | undefined {
    const row = this.#select.get(id) as ChunkRow | undefined;
    if (row === undefined) return undefined;
    const { checksum, data, ...rest } = row;
    const isGood = data.length <= CHUNK_BYTES_MAX && checksumOf(data) === checksum;
    return { ...rest, data: isGood ? data : undefined };
  }

  /** Of the last chunk; 0 for none. */
  lastId(): number {
    const row = this.db
      .prepare<unknown[], { id: number | null }>("select max(id) as id from chunk")
      .get();
    return row?.id ?? 0;
  }

  #sourceId(key: SourceKey): number {
    const name = [key.cellId, key.instanceId, key.resource, key.copy].join("/");
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const row = this.db
      .prepare<unknown[], { id: number }>(
        `insert into source (cell, instance, resource, copy) values (?, ?, ?, ?)
         on conflict (cell, instance, resource, copy) do update set copy = copy returning id`,
      )
      .get(key.cellId, key.instanceId, key.resource, key.copy);
    const id = row?.id ?? 0;
    if (this.#sources.size >= SOURCES_MAX) this.#sources.clear();
    this.#sources.set(name, id);
    return id;
  }
}
