/**
 * Makes a source database to try the worker with: a SQLite file whose rows depend on the seed and their id alone,
 * so that two runs, or one that was interrupted, give the same rows.
 */
import { DatabaseSync } from "node:sqlite";
import { SOURCE_TABLE } from "./decode.ts";
import type { SourceRow } from "./model.ts";

/** Waiting for a reader that checks the file; the generator has nothing else to do. */
const BUSY_TIMEOUT_MS = 5_000;
/** One transaction of the generator. */
const ROWS_PER_TRANSACTION = 1_000;
const FIRST_ROW_AT_MS = Date.UTC(2026, 0, 1);

const CURRENCIES = ["EUR", "eur", " usd", "USD", "gbp ", "GBP", "JPY", "XTS"];
const NOTES = [
  "",
  "invoice  4711",
  " refund\t",
  "Überweisung",
  "line\nbreak",
  "'; drop table",
  "水",
];

export type SourceContent = Readonly<{ accounts: readonly string[]; seed: number }>;

/** The row with this id. Accounts take turns unevenly, amounts may be negative, texts are untidy. */
export function sourceRow({ accounts, seed }: SourceContent, id: number): SourceRow {
  const pick = <T>(list: readonly T[], salt: number): T => {
    const value = list[mixed(seed, id, salt) % list.length];
    if (value === undefined) throw new RangeError("accounts: expected at least one");
    return value;
  };
  return {
    id,
    account: pick(accounts, 1),
    amountCents: (mixed(seed, id, 2) % 2_000_001) - 500_000,
    currency: pick(CURRENCIES, 3),
    note: pick(NOTES, 4),
    createdAt: new Date(FIRST_ROW_AT_MS + id * 1_000).toISOString(),
  };
}

/** A source file that is being filled. Close it in the end. */
export class SourceFile {
  readonly #database: DatabaseSync;
  readonly #content: SourceContent;

  /** Creates the file if it is missing; rows that are there stay. */
  constructor(path: string, content: SourceContent) {
    this.#content = content;
    this.#database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    // With a write-ahead log, the worker reads while rows are added.
    this.#database.exec(`pragma journal_mode = wal; pragma synchronous = normal;
      create table if not exists ${SOURCE_TABLE} (
        id integer primary key, account text not null, amount_cents integer not null,
        currency text not null, note text not null, created_at text not null);
      create index if not exists ${SOURCE_TABLE}_by_account on ${SOURCE_TABLE} (account, id);`);
  }

  get rowCount(): number {
    const row = this.#database
      .prepare(`select coalesce(max(id), 0) as n from ${SOURCE_TABLE}`)
      .get();
    return Number(row?.["n"]);
  }

  /** Adds rows until there are `rows`; none if there are as many already. */
  fillTo(rows: number): void {
    for (let next = this.rowCount + 1; next <= rows; next += ROWS_PER_TRANSACTION) {
      this.#add(next, Math.min(rows, next + ROWS_PER_TRANSACTION - 1));
    }
  }

  /** May be repeated. */
  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #add(firstId: number, lastId: number): void {
    const insert = this.#database.prepare(`insert into ${SOURCE_TABLE} values (?, ?, ?, ?, ?, ?)`);
    this.#database.exec("begin immediate");
    try {
      for (let id = firstId; id <= lastId; id++) {
        const row = sourceRow(this.#content, id);
        insert.run(id, row.account, row.amountCents, row.currency, row.note, row.createdAt);
      }
      this.#database.exec("commit");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("rollback");
      throw error;
    }
  }
}

/** Mixes three integers to 32 bits without a sign (the finaliser of MurmurHash3). */
function mixed(seed: number, id: number, salt: number): number {
  let h =
    (Math.imul(seed, 0x9e3779b1) ^ Math.imul(id, 0x85ebca77) ^ Math.imul(salt, 0xc2b2ae3d)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
