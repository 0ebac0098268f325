/**
 * Usage on disk: records, the series they belong to, and where the stream to the hub stands. A record is
 * durable before anybody is told of it, leaves only by the rules of retention, and keeps series and window
 * whatever happens to its number.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Series, SeriesSchema } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import type { Database, Statement } from "better-sqlite3";
import type { NewRecord } from "../metering/records.ts";
import type { SentBatch, StreamState } from "../metering/stream.ts";

/** Part of the store's first migration. `seq` is null where the hub had the record before this epoch. */
export const OUTBOX_SCHEMA = `
create table usage_stream (
  one integer primary key check (one = 1),
  epoch integer not null,
  incarnation integer not null,
  next_seq integer not null,
  accepted_seq integer not null,
  accepted_head blob not null,
  rolled_up_to_ms integer not null
) strict;
insert into usage_stream values (1, 0, 0, 1, 0, zeroblob(32), 0);
create table usage_series (
  digest blob primary key,
  series blob not null,
  last_end_ms integer not null
) strict, without rowid;
create table usage_record (
  id integer primary key,
  series blob not null references usage_series (digest),
  window_start_ms integer not null,
  window_end_ms integer not null,
  value integer not null,
  seq integer unique
) strict;
create index usage_record_end on usage_record (window_end_ms);
create table usage_sent (
  last_seq integer primary key,
  first_seq integer not null,
  head blob not null
) strict;
`;

/** What the hub accepted stays for this long, so that a hub restored from a backup can ask for it again. */
export const KEEP_DAYS = 35;
const KEEP_MS = KEEP_DAYS * 24 * 3_600_000;
const HOUR_MS = 3_600_000;
/** Accepted records keep their own windows for this long, then their hour's last one stands for them. */
const DETAIL_MS = 2 * HOUR_MS;
/** Rows that one roll-up looks at, so that it never blocks the agent for long. */
const ROLL_UP_ROWS_MAX = 5_000;
/** Records waiting for the hub; past it the hour's last one stands for all, which keeps every total exact. */
export const WAITING_RECORDS_MAX = 2_000_000;

export type OutboxRow = Readonly<{
  seq: bigint;
  digest: string;
  series: Series;
  windowStartMs: bigint;
  windowEndMs: bigint;
  value: bigint;
}>;

type StreamRow = Readonly<{
  epoch: bigint;
  incarnation: bigint;
  next_seq: bigint;
  accepted_seq: bigint;
  accepted_head: Uint8Array;
}>;

export class Outbox {
  readonly #db: Database;
  readonly #lastEnd: Statement;
  readonly #rows: Statement;

  constructor(db: Database) {
    this.#db = db;
    this.#lastEnd = db
      .prepare("select last_end_ms from usage_series where digest = ?")
      .safeIntegers(false);
    this.#rows = db
      .prepare(
        `select r.seq, r.series as digest, s.series, r.window_start_ms, r.window_end_ms, r.value
           from usage_record r join usage_series s on s.digest = r.series
          where r.seq > ? and r.seq <= ? order by r.seq limit ?`,
      )
      .safeIntegers();
  }

  state(): StreamState {
    const row = this.#db.prepare("select * from usage_stream").safeIntegers().get() as StreamRow;
    return {
      epoch: row.epoch,
      incarnation: row.incarnation,
      nextSeq: row.next_seq,
      acceptedSeq: row.accepted_seq,
      acceptedHead: row.accepted_head,
    };
  }

  /** End of the series' last window, ms; `digest` is hex. */
  lastEnd(digest: string): number | undefined {
    const row = this.#lastEnd.get(Buffer.from(digest, "hex")) as
      | { last_end_ms: number }
      | undefined;
    return row?.last_end_ms;
  }

  /** All or none, numbered in the order given. */
  append(records: readonly NewRecord[]): void {
    const upsert = this.#db.prepare(
      `insert into usage_series (digest, series, last_end_ms) values (?, ?, ?)
       on conflict (digest) do update set last_end_ms = excluded.last_end_ms`,
    );
    const insert = this.#db.prepare(
      `insert into usage_record (series, window_start_ms, window_end_ms, value, seq)
       select ?, ?, ?, ?, next_seq from usage_stream`,
    );
    const advance = this.#db.prepare("update usage_stream set next_seq = next_seq + 1");
    this.#db.transaction(() => {
      for (const { digest, series, windowStartMs, windowEndMs, value } of records) {
        const key = Buffer.from(digest, "hex");
        upsert.run(key, toBinary(SeriesSchema, create(SeriesSchema, series)), windowEndMs);
        insert.run(key, windowStartMs, windowEndMs, value);
        advance.run();
      }
    })();
  }

  /** Records with `after < seq <= upTo` in their order, at most `max`. */
  rows(after: bigint, upTo: bigint, max: number): readonly OutboxRow[] {
    const rows = this.#rows.all(after, upTo, max) as readonly Readonly<{
      seq: bigint;
      digest: Buffer;
      series: Uint8Array;
      window_start_ms: bigint;
      window_end_ms: bigint;
      value: bigint;
    }>[];
    return rows.map((row) => ({
      seq: row.seq,
      digest: row.digest.toString("hex"),
      series: fromBinary(SeriesSchema, row.series),
      windowStartMs: row.window_start_ms,
      windowEndMs: row.window_end_ms,
      value: row.value,
    }));
  }

  /** Batches handed out after what was accepted, in their order. */
  sent(): readonly SentBatch[] {
    const rows = this.#db
      .prepare("select first_seq, last_seq, head from usage_sent order by last_seq")
      .safeIntegers()
      .all() as readonly Readonly<{ first_seq: bigint; last_seq: bigint; head: Uint8Array }>[];
    return rows.map((row) => ({ firstSeq: row.first_seq, lastSeq: row.last_seq, head: row.head }));
  }

  /** Durable before the batch leaves, so that a rolled-back store is told from a lost acknowledgement. */
  recordSent({ firstSeq, lastSeq, head }: SentBatch): void {
    this.#db
      .prepare("insert or replace into usage_sent (first_seq, last_seq, head) values (?, ?, ?)")
      .run(firstSeq, lastSeq, head);
  }

  accept(acceptedSeq: bigint, acceptedHead: Uint8Array): void {
    this.#db.transaction(() => {
      this.#db
        .prepare("update usage_stream set accepted_seq = ?, accepted_head = ?")
        .run(acceptedSeq, acceptedHead);
      this.#db.prepare("delete from usage_sent where last_seq <= ?").run(acceptedSeq);
    })();
  }

  /** Records that the hub has not accepted yet. */
  waiting(): bigint {
    const { nextSeq, acceptedSeq } = this.state();
    return nextSeq - 1n - acceptedSeq;
  }

  /** Records that the hub has not accepted, when the oldest of them ended (ms), and how many series there are. */
  backlog(): Readonly<{ waiting: number; oldestEndMs: number | undefined; series: number }> {
    const { acceptedSeq } = this.state();
    const oldest = this.#db
      .prepare("select window_end_ms as at from usage_record where seq > ? order by seq limit 1")
      .safeIntegers(false)
      .get(acceptedSeq) as { at: number } | undefined;
    const { series } = this.#db
      .prepare("select count(*) as series from usage_series")
      .safeIntegers(false)
      .get() as { series: number };
    return { waiting: Number(this.waiting()), oldestEndMs: oldest?.at, series };
  }

  /** The present epoch is not to be trusted: the next opening asks for a new one. */
  forgetEpoch(): void {
    this.#db.prepare("update usage_stream set epoch = 0").run();
  }

  /**
   * Starts an epoch: numbers everything from 1 on that is later than what the hub's present database ends
   * with, by series (hex digest to ms). A roll-up that reaches over that end is split there.
   */
  renumber(epoch: bigint, incarnation: bigint, ends: ReadonlyMap<string, bigint>): void {
    this.#db.transaction(() => {
      this.#db.exec("delete from usage_sent; update usage_record set seq = null;");
      const move = this.#db.prepare(
        "update usage_record set seq = ?, window_start_ms = max(window_start_ms, ?) where id = ?",
      );
      const rows = this.#db
        .prepare("select id, series, window_end_ms from usage_record order by window_end_ms, id")
        .safeIntegers()
        .all() as readonly Readonly<{ id: bigint; series: Buffer; window_end_ms: bigint }>[];
      let next = 1n;
      for (const { id, series, window_end_ms } of rows) {
        const end = ends.get(series.toString("hex")) ?? 0n;
        if (window_end_ms > end) move.run(next++, end, id);
      }
      this.#db
        .prepare(
          `update usage_stream set epoch = ?, incarnation = ?, next_seq = ?,
                  accepted_seq = 0, accepted_head = zeroblob(32)`,
        )
        .run(epoch, incarnation, next);
    })();
  }

  /** Retention, a bounded piece of it at a time. */
  rollUp(now: number): void {
    this.#db.transaction(() => {
      const { nextSeq, acceptedSeq } = this.state();
      this.#db
        .prepare(
          `delete from usage_record where id in (
             select id from usage_record
              where window_end_ms < ? and (seq is null or seq <= ?)
              order by window_end_ms limit ?)`,
        )
        .run(now - KEEP_MS, acceptedSeq, ROLL_UP_ROWS_MAX);
      if (nextSeq - 1n - acceptedSeq > BigInt(WAITING_RECORDS_MAX)) {
        this.#db.exec("update usage_stream set epoch = 0, rolled_up_to_ms = 0");
        this.#rollUpHours(hourBefore(now));
      } else {
        this.#rollUpHours(this.#rollUpEnd(now, acceptedSeq));
      }
    })();
  }

  /** End of the hours whose records were all accepted, are old enough, and are few enough for one go. */
  #rollUpEnd(now: number, acceptedSeq: bigint): number {
    const waiting = this.#db
      .prepare("select window_end_ms as at from usage_record where seq > ? order by seq limit 1")
      .safeIntegers(false)
      .get(acceptedSeq) as { at: number } | undefined;
    const end = hourBefore(Math.min(now - DETAIL_MS, waiting?.at ?? now));
    const far = this.#db
      .prepare(
        `select window_end_ms as far from usage_record, usage_stream
          where window_end_ms > rolled_up_to_ms order by window_end_ms limit 1 offset ?`,
      )
      .safeIntegers(false)
      .get(ROLL_UP_ROWS_MAX) as { far: number } | undefined;
    return Math.min(end, far === undefined ? end : hourBefore(far.far) + HOUR_MS);
  }

  /** The last record of a series in an hour takes the window of the earlier ones, which go. */
  #rollUpHours(end: number): void {
    this.#db.exec("create temp table if not exists roll (id integer primary key, keep integer)");
    this.#db.exec("delete from roll");
    const { changes } = this.#db
      .prepare(
        `insert into roll
         select id, last_value(id) over (
                  partition by series, (window_end_ms - 1) / ${HOUR_MS} order by window_end_ms
                  rows between unbounded preceding and unbounded following)
           from usage_record, usage_stream
          where window_end_ms > rolled_up_to_ms and window_end_ms <= ?`,
      )
      .run(end);
    if (changes === 0) return;
    this.#db.exec(`
      update usage_record set window_start_ms = (
        select min(r.window_start_ms) from usage_record r join roll on roll.id = r.id
         where roll.keep = usage_record.id)
       where id in (select keep from roll where keep <> id);
      delete from usage_record where id in (select id from roll where keep <> id);`);
    this.#db.prepare("update usage_stream set rolled_up_to_ms = ?").run(end);
  }
}

function hourBefore(ms: number): number {
  return Math.floor(ms / HOUR_MS) * HOUR_MS;
}
