/** The tables of a sample partition: health, metrics, and notes of what is missing. The same thing twice is there once. */
import { checksumOf } from "./log-data.ts";
import type { Sql } from "./partition.ts";
import type { Append, MetricSeries, Missing, Place, Range, StoredMissing } from "./port.ts";

export const SAMPLE_SCHEMA = `
create table if not exists health (
  cell text not null, instance text not null, time_ms integer not null,
  checksum integer not null, body blob not null,
  primary key (cell, instance, time_ms)
) strict, without rowid;
create table if not exists series (
  id integer primary key,
  cell text not null, instance text not null, resource text not null, name text not null,
  kind integer not null,
  unique (cell, instance, resource, name)
) strict;
create table if not exists point (
  series integer not null, time_ms integer not null, value real not null,
  primary key (series, time_ms)
) strict, without rowid;
create table if not exists missing (
  id text not null primary key,
  cell text not null, instance text not null, resource text not null,
  class integer not null, reason text not null, count integer not null, bytes integer not null,
  first_ms integer not null, last_ms integer not null
) strict, without rowid;
create index if not exists missing_of_instance on missing (cell, instance, last_ms);
`;

/** Series of one instance that a query looks at. */
const SERIES_MAX = 200;
const SERIES_KNOWN_MAX = 50_000;
/** Of one series in one partition that a query looks at: one a second for a day. */
const POINTS_MAX = 86_400;

export type SeriesRow = Readonly<{ id: number; resource: string; name: string; kind: number }>;
export type Point = Readonly<{ timeMs: number; value: number }>;

export class SamplePartition {
  readonly db: Sql;
  readonly #series = new Map<string, number>();

  constructor(db: Sql) {
    this.db = db;
  }

  append({ cellId, agentId, health, metrics, missing }: Append): void {
    const putHealth = this.db.prepare(
      "insert or replace into health (cell, instance, time_ms, checksum, body) values (?, ?, ?, ?, ?)",
    );
    for (const { instanceId, timeMs, body } of health) {
      putHealth.run(cellId, instanceId, timeMs, checksumOf(body), body);
    }
    const putPoint = this.db.prepare(
      "insert or replace into point (series, time_ms, value) values (?, ?, ?)",
    );
    for (const series of metrics) {
      const id = this.#seriesId(cellId, series);
      for (const { timeMs, value } of series.points) putPoint.run(id, timeMs, value);
    }
    for (const note of missing) this.#putMissing(cellId, { ...note, id: `${agentId}/${note.id}` });
  }

  /** A transaction was undone: what was learned in it is not so. */
  forget(): void {
    this.#series.clear();
  }

  /** Newest first; those that were damaged are left out. */
  health({ cellId, instanceId }: Place, range: Range, limit: number) {
    const rows = this.db
      .prepare<unknown[], { timeMs: number; checksum: number; body: Buffer }>(
        `select time_ms as "timeMs", checksum, body from health
          where cell = ? and instance = ? and time_ms >= ? and time_ms < ?
          order by time_ms desc limit ?`,
      )
      .all(cellId, instanceId, range.startMs, range.endMs, limit);
    return rows
      .filter(({ checksum, body }) => checksumOf(body) === checksum)
      .map(({ timeMs, body }) => ({ timeMs, body: new Uint8Array(body) }));
  }

  series(place: Place, resource: string, names: readonly string[]): readonly SeriesRow[] {
    return this.db
      .prepare<unknown[], SeriesRow>(
        `select id, resource, name, kind from series
          where cell = ? and instance = ? and (? = '' or resource = ?)
            and (? = '[]' or name in (select value from json_each(?)))
          order by resource, name limit ${SERIES_MAX}`,
      )
      .all(
        ...[place.cellId, place.instanceId, resource, resource],
        ...[JSON.stringify(names), JSON.stringify(names)],
      );
  }

  /** Oldest first; the first POINTS_MAX of them. */
  points(series: number, { startMs, endMs }: Range): readonly Point[] {
    return this.db
      .prepare<unknown[], Point>(
        `select time_ms as "timeMs", value from point
          where series = ? and time_ms >= ? and time_ms < ? order by time_ms limit ${POINTS_MAX}`,
      )
      .all(series, startMs, endMs);
  }

  /** Latest first. */
  missing(place: Place, resource: string, range: Range, limit: number): readonly Missing[] {
    return this.db
      .prepare<unknown[], Missing>(
        `select id, instance as "instanceId", resource, class, reason, count, bytes,
                first_ms as "firstMs", last_ms as "lastMs"
           from missing
          where cell = ? and instance = ? and last_ms >= ? and first_ms < ?
            and (? = '' or resource = '' or resource = ?)
          order by last_ms desc limit ?`,
      )
      .all(
        ...[place.cellId, place.instanceId, range.startMs, range.endMs],
        ...[resource, resource, limit],
      );
  }

  #putMissing(cellId: string, note: StoredMissing & { id: string }): void {
    this.db
      .prepare(
        `insert or ignore into missing
           (id, cell, instance, resource, class, reason, count, bytes, first_ms, last_ms)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[note.id, cellId, note.instanceId, note.resource, note.class, note.reason],
        ...[note.count, note.bytes, note.firstMs, note.lastMs],
      );
  }

  #seriesId(cellId: string, { instanceId, resource, name, kind }: MetricSeries): number {
    const key = [cellId, instanceId, resource, name].join("/");
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const row = this.db
      .prepare<unknown[], { id: number }>(
        `insert into series (cell, instance, resource, name, kind) values (?, ?, ?, ?, ?)
         on conflict (cell, instance, resource, name) do update set kind = excluded.kind returning id`,
      )
      .get(cellId, instanceId, resource, name, kind);
    const id = row?.id ?? 0;
    if (this.#series.size >= SERIES_KNOWN_MAX) this.#series.clear();
    this.#series.set(key, id);
    return id;
  }
}
