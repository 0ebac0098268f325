/**
 * Writes to a SQLite file: write-ahead log, full synchronisation, one immediate transaction per batch. Leases run
 * by the machine's wall clock, since both holders are on this machine; a jump of it can only make a take-over
 * early or late, and the fencing number keeps an early one safe.
 */
import { DatabaseSync } from "node:sqlite";
import { integer, text } from "./decode.ts";
import { type Destination, type Lease, progressAfter, type WriteOutcome } from "./model.ts";
import { LEASE_MS_MAX } from "./settings.ts";
import { BUSY_TIMEOUT_MS, fileIdentity } from "./sqlite-file.ts";

const SCHEMA = `
create table if not exists etl_destination (
  only_row integer primary key check (only_row = 1), id text not null, created_at text not null) strict;
create table if not exists etl_lease (
  only_row integer primary key check (only_row = 1), holder text not null, fencing integer not null,
  expires_at_ms integer not null) strict;
create table if not exists etl_checkpoint (
  seat text primary key, account text not null, last_id integer not null, row_count integer not null) strict;
create table if not exists etl_row (
  seat text not null, source_id integer not null, account text not null, amount_cents integer not null,
  currency text not null, note text not null, created_at text not null, release text not null,
  fencing integer not null, amount_eur_cents integer, primary key (seat, source_id)) strict;
insert into etl_lease values (1, '', 0, 0) on conflict do nothing;`;

export type DestinationDeps = Readonly<{
  leaseMs: number;
  now: () => number;
  /** For a destination that is created now. */
  newId: () => string;
}>;

class FileReplaced extends Error {
  override readonly name = "FileReplaced";
}

/** Opens the file and creates what is missing in it. Throws when it is locked or not a database. */
export function openSqliteDestination(path: string, deps: DestinationDeps): Destination {
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    database.exec("pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on");
    const id = inTransaction(database, () => createSchema(database, deps));
    return new SqliteDestination(path, database, id, deps);
  } catch (error) {
    database.close();
    throw error;
  }
}

class SqliteDestination implements Destination {
  readonly id: string;
  readonly #path: string;
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #deps: DestinationDeps;

  constructor(path: string, database: DatabaseSync, id: string, deps: DestinationDeps) {
    this.id = id;
    this.#path = path;
    this.#file = fileIdentity(path);
    this.#database = database;
    this.#deps = deps;
  }

  async acquire(holder: string): Promise<Lease | undefined> {
    // Looking first keeps a stand-by, which asks many times a second, from taking the write lock.
    this.#checkFile();
    if (!this.#isFreeFor(holder)) return undefined;
    return inTransaction(this.#database, () => {
      if (!this.#isFreeFor(holder)) return undefined;
      const row = this.#database
        .prepare(
          "update etl_lease set holder = ?, fencing = fencing + 1, expires_at_ms = ? returning fencing",
        )
        .get(holder, this.#deps.now() + this.#deps.leaseMs);
      return { holder, fencing: integer(row ?? {}, "fencing", "lease") };
    });
  }

  async renew(lease: Lease): Promise<boolean> {
    this.#checkFile();
    return inTransaction(this.#database, () => this.#extend(lease));
  }

  async release(lease: Lease): Promise<void> {
    this.#database
      .prepare(
        "update etl_lease set holder = '', expires_at_ms = 0 where holder = ? and fencing = ?",
      )
      .run(lease.holder, lease.fencing);
  }

  async progress(): ReturnType<Destination["progress"]> {
    const rows = this.#database
      .prepare("select seat, last_id, row_count from etl_checkpoint")
      .all();
    return new Map(
      rows.map((row) => {
        const seat = text(row, "seat", "checkpoint");
        return [
          seat,
          { lastId: integer(row, "last_id", seat), rowCount: integer(row, "row_count", seat) },
        ];
      }),
    );
  }

  async write(...[lease, batch]: Parameters<Destination["write"]>): Promise<WriteOutcome> {
    this.#checkFile();
    return inTransaction(this.#database, () => {
      if (!this.#extend(lease)) return "lease_lost";
      if (!this.#advance(batch)) return "moved";
      const insert =
        this.#database.prepare(`insert into etl_row (seat, source_id, account, amount_cents,
        currency, note, created_at, release, fencing, amount_eur_cents) values (?,?,?,?,?,?,?,?,?,?)`);
      for (const row of batch.rows) {
        const money = [
          row.amountCents,
          row.currency,
          row.note,
          row.createdAt,
          row.release,
        ] as const;
        insert.run(
          batch.seat.id,
          row.sourceId,
          row.account,
          ...money,
          lease.fencing,
          row.amountEurCents,
        );
      }
      return "written";
    });
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  /** Throws once the file is gone or another; the caller then opens what is there. */
  #checkFile(): void {
    if (fileIdentity(this.#path) === this.#file) return;
    throw new FileReplaced("the destination's file was replaced by another one");
  }

  /** An expiry further ahead than any lease lasts was written before the clock was set back. */
  #isFreeFor(holder: string): boolean {
    const row = this.#database.prepare("select holder, expires_at_ms from etl_lease").get() ?? {};
    const aheadMs = integer(row, "expires_at_ms", "lease") - this.#deps.now();
    return aheadMs <= 0 || aheadMs > LEASE_MS_MAX || text(row, "holder", "lease") === holder;
  }

  /** The check and the renewal of the lease are one statement; a newer fencing number leaves it without a row. */
  #extend(lease: Lease): boolean {
    const { changes } = this.#database
      .prepare("update etl_lease set expires_at_ms = ? where holder = ? and fencing = ?")
      .run(this.#deps.now() + this.#deps.leaseMs, lease.holder, lease.fencing);
    return Number(changes) === 1;
  }

  #advance(batch: Parameters<Destination["write"]>[1]): boolean {
    const { from, seat } = batch;
    const after = progressAfter(batch);
    this.#database
      .prepare("insert into etl_checkpoint values (?, ?, 0, 0) on conflict do nothing")
      .run(seat.id, seat.name);
    const { changes } = this.#database
      .prepare(`update etl_checkpoint set account = ?, last_id = ?, row_count = ?
        where seat = ? and last_id = ? and row_count = ?`)
      .run(seat.name, after.lastId, after.rowCount, seat.id, from.lastId, from.rowCount);
    return Number(changes) === 1;
  }
}

function createSchema(database: DatabaseSync, deps: DestinationDeps): string {
  database.exec(SCHEMA);
  database
    .prepare("insert into etl_destination values (1, ?, ?) on conflict do nothing")
    .run(deps.newId(), new Date(deps.now()).toISOString());
  return text(database.prepare("select id from etl_destination").get() ?? {}, "id", "destination");
}

/** An outcome other than "written", or a lease that is not ours, changed no row: committing it is harmless. */
function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("begin immediate");
  try {
    const result = work();
    database.exec(result === "moved" ? "rollback" : "commit");
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec("rollback");
    throw error;
  }
}
