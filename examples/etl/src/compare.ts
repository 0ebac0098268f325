/**
 * Compares source and destination row by row: each row of a seated account must be there exactly once and as the
 * release that copied it transforms it, and the durable counts must equal the rows. It repairs nothing.
 */
import { decodeSourceRows, integer, SOURCE_COLUMNS, SOURCE_TABLE, text } from "./decode.ts";
import type { CopiedRow, Seat, SourceRow } from "./model.ts";
import { RATES, type Rates } from "./rates.ts";
import { openReader, type Reader } from "./reader.ts";
import { RELEASE_1_0, RELEASE_1_1, RELEASE_1_2, type Release } from "./release.ts";

const PAGE_ROWS = 1_000;
const DIFFERENCES_MAX = 20;

const RELEASES: ReadonlyMap<string, Release> = new Map(
  [RELEASE_1_0, RELEASE_1_1, RELEASE_1_2].map((release) => [release.version, release]),
);

export type CompareOptions = Readonly<{
  /** Path of a SQLite file, or a PostgreSQL DSN. */
  source: string;
  destination: string;
  /** Reserved seats are passed over. */
  seats: readonly Pick<Seat, "id" | "name" | "reserved">[];
  /** Rates that rows of 1.2 were converted with; default: the built-in ones. */
  rates?: Rates;
}>;

export type Counts = Readonly<{
  /** There once, and right. */
  matched: number;
  /** In the source, behind the seat's checkpoint: not copied yet, which is no difference. */
  pending: number;
  /** In the source, before the checkpoint, but not in the destination. */
  missing: number;
  /** In the destination, but not (or not once more) in the source's rows of the account. */
  extra: number;
  /** There, but not as its release transforms it. */
  wrong: number;
}>;

export type Comparison = Counts &
  Readonly<{
    /** Nothing missing, extra, wrong or miscounted; rows may be pending. */
    isExact: boolean;
    /** Exact, and nothing pending. */
    isComplete: boolean;
    /** The destination's own id: the source identity of its counters. */
    destinationId: string;
    /** By seat id; `counted` is the durable count that the worker exposes as usage. */
    seats: Readonly<Record<string, Counts & Readonly<{ counted: number }>>>;
    /** Rows of seats that were not asked about, such as those of a seat that has gone. */
    unseated: number;
    /** The first of them, for people; DIFFERENCES_MAX at most. */
    differences: readonly string[];
  }>;

/** The worker may run meanwhile: the destination is seen as it was when the comparison began. */
export async function compare(options: CompareOptions): Promise<Comparison> {
  const destination = await openReader(options.destination);
  try {
    const [identity] = await destination.query("select id from etl_destination", []);
    // The source is looked at after the destination, so that it holds all that the destination has.
    const source = await openReader(options.source);
    try {
      return await compareSeats(options, { source, destination }, text(identity ?? {}, "id", "?"));
    } finally {
      await source.close();
    }
  } finally {
    await destination.close();
  }
}

type Both = Readonly<{ source: Reader; destination: Reader }>;
type Tally = { -readonly [K in keyof Counts]: number };

async function compareSeats(
  options: CompareOptions,
  both: Both,
  destinationId: string,
): Promise<Comparison> {
  const differences: string[] = [];
  const differ = (what: string) => {
    if (differences.length < DIFFERENCES_MAX) differences.push(what);
  };
  const total: Tally = { matched: 0, pending: 0, missing: 0, extra: 0, wrong: 0 };
  const seats: Record<string, Counts & { counted: number }> = {};
  let miscounted = 0;
  let rowsOfSeats = 0;
  for (const seat of options.seats.filter((each) => !each.reserved)) {
    const checkpoint = await readCheckpoint(both.destination, seat.id);
    const rates = options.rates ?? RATES;
    const counts = await compareSeat(both, { seat, lastId: checkpoint.lastId, rates, differ });
    const rows = counts.matched + counts.wrong + counts.extra;
    if (rows !== checkpoint.counted) {
      miscounted += 1;
      differ(`${seat.id}: counted ${checkpoint.counted} rows, has ${rows}`);
    }
    seats[seat.id] = { ...counts, counted: checkpoint.counted };
    rowsOfSeats += rows;
    for (const key of Object.keys(total) as (keyof Counts)[]) total[key] += counts[key];
  }
  const [all] = await both.destination.query("select count(*) as n from etl_row", []);
  const unseated = integer(all ?? {}, "n", "count") - rowsOfSeats;
  const isExact = total.missing + total.extra + total.wrong + miscounted === 0;
  const isComplete = isExact && total.pending === 0;
  return { ...total, isExact, isComplete, destinationId, seats, unseated, differences };
}

type SeatTask = Readonly<{
  seat: Pick<Seat, "id" | "name">;
  lastId: number;
  rates: Rates;
  differ: (what: string) => void;
}>;

/** Walks both in order of id at once. */
async function compareSeat(both: Both, task: SeatTask): Promise<Counts> {
  const counts: Tally = { matched: 0, pending: 0, missing: 0, extra: 0, wrong: 0 };
  const source = sourceRows(both.source, task.seat.name);
  const copies = copiedRows(both.destination, task.seat.id);
  let [wanted, copy] = [await next(source), await next(copies)];
  while (wanted !== undefined || copy !== undefined) {
    if (copy === undefined || (wanted !== undefined && wanted.id < copy.sourceId)) {
      const isPending = wanted !== undefined && wanted.id > task.lastId;
      counts[isPending ? "pending" : "missing"] += 1;
      if (!isPending) task.differ(`${task.seat.id}: row ${wanted?.id} is missing`);
      wanted = await next(source);
    } else if (wanted === undefined || copy.sourceId < wanted.id) {
      counts.extra += 1;
      task.differ(`${task.seat.id}: row ${copy.sourceId} is there once too often`);
      copy = await next(copies);
    } else {
      const problem = judgeCopy(wanted, copy, task.rates);
      counts[problem === undefined ? "matched" : "wrong"] += 1;
      if (problem !== undefined) task.differ(`${task.seat.id}: row ${wanted.id} ${problem}`);
      [wanted, copy] = [await next(source), await next(copies)];
    }
  }
  return counts;
}

/** What is wrong with a copy, if anything. */
function judgeCopy(row: SourceRow, copy: CopiedRow, rates: Rates): string | undefined {
  const release = RELEASES.get(copy.release);
  if (release === undefined) return `was made by an unknown release ${copy.release}`;
  const right = release.transform(row, rates);
  const keys = Object.keys(right) as (keyof CopiedRow)[];
  const wrong = keys.find((key) => right[key] !== copy[key]);
  if (wrong === undefined) return undefined;
  return `has ${wrong} ${JSON.stringify(copy[wrong])}; expected ${JSON.stringify(right[wrong])}`;
}

async function next<T>(rows: AsyncGenerator<T, void>): Promise<T | undefined> {
  const step = await rows.next();
  return step.done ? undefined : step.value;
}

async function* sourceRows(reader: Reader, account: string): AsyncGenerator<SourceRow, void> {
  const sql = `select ${SOURCE_COLUMNS} from ${SOURCE_TABLE}
    where account = $1 and id > $2 order by id limit ${PAGE_ROWS}`;
  for (let afterId = 0; ; ) {
    const rows = decodeSourceRows(await reader.query(sql, [account, afterId]));
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    afterId = last.id;
  }
}

/** Pages by number, not by id, so that a row that is there twice is seen twice. */
async function* copiedRows(reader: Reader, seat: string): AsyncGenerator<CopiedRow, void> {
  const sql = `select source_id, account, amount_cents, currency, note, created_at, release,
    amount_eur_cents from etl_row where seat = $1 order by source_id limit ${PAGE_ROWS} offset $2`;
  for (let offset = 0; ; offset += PAGE_ROWS) {
    const rows = await reader.query(sql, [seat, offset]);
    for (const row of rows) yield decodeCopiedRow(row);
    if (rows.length < PAGE_ROWS) return;
  }
}

function decodeCopiedRow(columns: Readonly<Record<string, unknown>>): CopiedRow {
  const sourceId = integer(columns, "source_id", "?");
  const isNull = columns["amount_eur_cents"] === null;
  return {
    sourceId,
    account: text(columns, "account", sourceId),
    amountCents: integer(columns, "amount_cents", sourceId),
    currency: text(columns, "currency", sourceId),
    note: text(columns, "note", sourceId),
    createdAt: text(columns, "created_at", sourceId),
    amountEurCents: isNull ? null : integer(columns, "amount_eur_cents", sourceId),
    release: text(columns, "release", sourceId),
  };
}

async function readCheckpoint(
  reader: Reader,
  seat: string,
): Promise<Readonly<{ lastId: number; counted: number }>> {
  const [row] = await reader.query(
    "select last_id, row_count from etl_checkpoint where seat = $1",
    [seat],
  );
  if (row === undefined) return { lastId: 0, counted: 0 };
  return { lastId: integer(row, "last_id", seat), counted: integer(row, "row_count", seat) };
}
