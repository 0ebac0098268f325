/**
 * The agent's SQLite file. Durable means: WAL with synchronous=FULL, read back at the start rather than
 * believed. A damaged file is set aside, never repaired or deleted; the caller is told, and workloads are
 * left alone. Every call is synchronous and short: a long one would stop the whole agent.
 */
import { chmodSync, existsSync, readFileSync, renameSync, statSync } from "node:fs";
import { Fault } from "@holdfast/shared/fault.ts";
import Database from "better-sqlite3";
import { migrate } from "./migrations.ts";
import { isReadOnly, readOnlyDisk } from "./state-directory.ts";

export type SqlValue = string | number | bigint | null | Uint8Array;

/** No list read by the agent is longer; whoever needs more reads in pages. */
export const LIST_ROWS_MAX = 1_000;

/** How long a call may wait for another process, such as `status`, that reads the file. */
const BUSY_MS_MAX = 2_000;
/** Of a file that is read as a whole. */
const COPY_BYTES_MAX = 512 * 1024 * 1024;
/** Distinct statements are written in the code, so this is only reached by a bug. */
const STATEMENTS_MAX = 500;
/** Answers that are kept decoded until the next write; an agent of some 4,000 instances decodes again. */
const KEPT_MAX = 65_536;
/** Of what is not one instance's. */
const SHARED = "";
const INSTANCE_ID = /^ins_[0-9a-f]{32}$/;
const WRITTEN_TABLE = /^\s*(?:insert(?: or \w+)? into|update|delete from)\s+(\w+)/;
/** What SQLite answers where the disk is the reason, and not a statement. */
const DISK_CODES = ["SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN"];

/** Integers come back as bigint, so that 64-bit numbers stay exact. */
export class Store {
  /** For the other files of this folder only. */
  readonly db: Database.Database;
  readonly #statements = new Map<string, Database.Statement<SqlValue[], unknown>>();
  /** By instance, and by question. */
  readonly #kept = new Map<string, Map<string, unknown>>();
  /** Of a statement that writes, the table. */
  readonly #tables = new Map<string, string>();
  #keptCount = 0;

  /** Told how long each transaction took until it was on the disk; undefined: nobody measures. */
  watch: Readonly<{ monotonic(): number; written(ms: number): void }> | undefined;

  /** Reason of the last write that the disk refused, STORE_READ_ONLY, STORE_FULL or STORE_FAILED, until one succeeds. */
  unwritable: string | undefined;

  constructor(db: Database.Database) {
    this.db = db;
  }

  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  /** At most LIST_ROWS_MAX rows by a `limit` in the statement. */
  all<Row>(sql: string, ...values: SqlValue[]): readonly Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  /**
   * Number of rows that changed. A statement that is given the id of an instance changes rows of that one alone, and of
   * one table alone.
   */
  run(sql: string, ...values: SqlValue[]): number {
    const instanceId = values.find((value) => typeof value === "string" && INSTANCE_ID.test(value));
    if (instanceId === undefined) this.#forgetAll();
    else this.#forget(String(instanceId), this.#tableOf(sql));
    return this.#written(() => this.#statement(sql).run(...values).changes);
  }

  /** All of `work` or nothing, synced to the disk when it returns. Nested calls join the outer one. */
  transaction<Result>(work: () => Result): Result {
    if (this.db.inTransaction) return work();
    const startMs = this.watch?.monotonic() ?? 0;
    const result = this.#written(() => this.db.transaction(work).immediate());
    this.watch?.written(this.watch.monotonic() - startMs);
    return result;
  }

  /**
   * As transaction, for what recovery would find out or do again: the disk has it no later than the next transaction,
   * and until then only a loss of power takes it back, as a whole. Within another transaction it is as durable as that.
   */
  unsynced<Result>(work: () => Result): Result {
    if (this.db.inTransaction) return work();
    this.db.pragma("synchronous = NORMAL");
    try {
      return this.#written(() => this.db.transaction(work).immediate());
    } finally {
      this.db.pragma("synchronous = FULL");
    }
  }

  /**
   * What `read` made of this store, until something is written through it that may change the answer: loops that look
   * each second decode nothing twice. `key` names the question about the instance and begins with the table that the
   * answer is from; nobody may change the answer. Within a transaction, which may be taken back, each call reads.
   */
  kept<Answer>(instanceId: string, key: string, read: () => Answer): Answer {
    if (this.db.inTransaction) return read();
    const known = this.#kept.get(instanceId);
    if (known?.has(key)) return known.get(key) as Answer;
    const answer = read();
    if (this.#keptCount >= KEPT_MAX) this.#forgetAll();
    const answers = this.#kept.get(instanceId) ?? new Map<string, unknown>();
    this.#kept.set(instanceId, answers.set(key, answer));
    this.#keptCount += 1;
    return answer;
  }

  /** As `kept`, of what is not one instance's, such as a release: no write to an instance changes it. */
  keptShared<Answer>(key: string, read: () => Answer): Answer {
    return this.kept(SHARED, key, read);
  }

  #forgetAll(): void {
    this.#kept.clear();
    this.#keptCount = 0;
  }

  #forget(instanceId: string, table: string): void {
    const answers = this.#kept.get(instanceId);
    if (answers === undefined) return;
    for (const key of answers.keys()) {
      if (key !== table && !key.startsWith(`${table} `)) continue;
      answers.delete(key);
      this.#keptCount -= 1;
    }
    if (answers.size === 0) this.#kept.delete(instanceId);
  }

  #tableOf(sql: string): string {
    const known = this.#tables.get(sql);
    if (known !== undefined) return known;
    const table = WRITTEN_TABLE.exec(sql)?.[1];
    if (table === undefined) throw new Fault("INTERNAL", "INTERNAL", `no write: ${sql}`);
    if (this.#tables.size >= STATEMENTS_MAX) this.#tables.clear();
    this.#tables.set(sql, table);
    return table;
  }

  /** Without the write-ahead log. */
  bytes(): number {
    const size = "select page_count * page_size as bytes from pragma_page_count, pragma_page_size";
    return Number(this.get<{ bytes: bigint }>(size)?.bytes ?? 0n);
  }

  #written<Result>(write: () => Result): Result {
    try {
      const result = write();
      this.unwritable = undefined;
      return result;
    } catch (error) {
      const code = sqliteCode(error);
      const isDisk = DISK_CODES.some((each) => code.startsWith(each));
      if (isDisk) this.unwritable = storeFault(this.db.name, error).reason;
      throw error;
    }
  }

  close(): void {
    this.#kept.clear();
    this.#statements.clear();
    this.db.close();
  }

  #statement(sql: string): Database.Statement<SqlValue[], unknown> {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear();
    const statement = this.db.prepare<SqlValue[], unknown>(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

export type OpenedStore = Readonly<{
  store: Store;
  /** Where a damaged file was put; the store is then new and empty. */
  damaged: string | undefined;
}>;

/**
 * Opens or creates the store and brings its schema up to date.
 * `now` names the file that a damaged store is moved to. Throws FAILED_PRECONDITION `STORE_NOT_DURABLE`,
 * `STORE_READ_ONLY` or `STORE_NEWER`, and RESOURCE_EXHAUSTED `STORE_FULL`.
 */
export function openStore(path: string, now: number): OpenedStore {
  const first = tryOpen(path);
  if (first !== undefined) return { store: first, damaged: undefined };
  const aside = `${path}.damaged-${now}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  const second = tryOpen(path);
  if (second !== undefined) return { store: second, damaged: aside };
  throw new Fault("INTERNAL", "STORE_DAMAGED", `${path}: a new file is damaged at once`, {
    next: "check the disk",
  });
}

/** For `status` and `why` without a running agent. Never writes; undefined if there is no store yet. */
export function openStoreToRead(path: string): Store | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const db = isReadOnly(path) ? openOnReadOnlyDisk(path) : openToRead(path);
    db.defaultSafeIntegers(true);
    return new Store(db);
  } catch (error) {
    throw storeFault(path, error);
  }
}

function openToRead(source: string | Buffer): Database.Database {
  return new Database(source, { readonly: true, timeout: BUSY_MS_MAX });
}

/**
 * SQLite opens a file in WAL mode only where the log beside it is or can be made. After a good end there is none, and
 * the file is all there is: it is then read as a copy that says it has no log.
 */
function openOnReadOnlyDisk(path: string): Database.Database {
  if (existsSync(`${path}-wal`)) return openToRead(path);
  const { size } = statSync(path);
  if (size > COPY_BYTES_MAX) throw readOnlyDisk(path);
  const bytes = readFileSync(path);
  // Bytes 18 and 19 of the header: which journal writers and readers expect; 1 is none that is kept open.
  bytes.fill(1, 18, 20);
  return openToRead(bytes);
}

/** Undefined if the file is damaged. */
function tryOpen(path: string): Store | undefined {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: BUSY_MS_MAX });
    db.defaultSafeIntegers(true);
    chmodSync(path, 0o600);
    harden(db, path);
    const store = new Store(db);
    migrate(store, path);
    return store;
  } catch (error) {
    db?.close();
    if (isDamage(error)) return undefined;
    throw storeFault(path, error);
  }
}

function harden(db: Database.Database, path: string): void {
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  const mode = String(db.pragma("journal_mode", { simple: true }));
  const synchronous = Number(db.pragma("synchronous", { simple: true }));
  if (mode !== "wal" || synchronous !== 2) {
    throw new Fault(
      "FAILED_PRECONDITION",
      "STORE_NOT_DURABLE",
      `${path}: got journal_mode ${mode}, synchronous ${synchronous}; needed: wal and 2 (FULL)`,
      { next: "put state_dir on a local disk" },
    );
  }
  const verdict = String(db.pragma("quick_check(1)", { simple: true }));
  if (verdict !== "ok") throw new Damage(verdict);
}

/** Thrown within this file only. */
class Damage extends Error {}

function isDamage(error: unknown): boolean {
  if (error instanceof Damage) return true;
  const code = sqliteCode(error);
  return code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB";
}

function storeFault(path: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  const code = sqliteCode(error);
  if (isReadOnly(path)) return readOnlyDisk(path, error);
  if (code === "SQLITE_FULL") {
    return new Fault("RESOURCE_EXHAUSTED", "STORE_FULL", `${path}: no space left on the disk`, {
      cause: error,
      next: `df -h ${path}`,
    });
  }
  if (code.startsWith("SQLITE_READONLY") || code.startsWith("SQLITE_CANTOPEN")) {
    const message = `${path}: the store cannot be written`;
    return new Fault("FAILED_PRECONDITION", "STORE_READ_ONLY", message, {
      cause: error,
      next: `ls -ld ${path}`,
    });
  }
  return new Fault("INTERNAL", "STORE_FAILED", `${path}: SQLite answered ${code || "an error"}`, {
    cause: error,
  });
}

function sqliteCode(error: unknown): string {
  if (!(error instanceof Error) || !("code" in error)) return "";
  return String(error.code);
}
