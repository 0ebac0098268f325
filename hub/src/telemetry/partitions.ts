/**
 * The partition files of one vendor and one family in one folder: the one that is written, those that are sealed,
 * and those that have to go. Sealed ones are opened when they are asked about, a few at once.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  bytesOf,
  isDamage,
  openPartition,
  PARTITION_SUFFIXES,
  type Sql,
  setAside,
  syncPartition,
} from "./partition.ts";
import {
  expired,
  type Family,
  nextName,
  type PartitionFile,
  parseName,
  partitionBytesMax,
  partitionMs,
} from "./partition-name.ts";

/** Sealed partitions of one family that are open at once. */
const OPEN_MAX = 8;
/** Bytes between two looks at how large the file that is written has become. */
const LOOK_BYTES = 1_048_576;

export type PartitionBounds = Readonly<{ ageMsMax: number; bytesMax: number }>;

export type PartitionsDeps<P> = Readonly<{
  folder: string;
  family: Family;
  schema: string;
  open(db: Sql): P;
  bounds: PartitionBounds;
  now(): number;
  /** A file that SQLite cannot read was set aside. */
  damaged(name: string): void;
}>;

export type Opened<P> = Readonly<{ name: string; db: Sql; partition: P }>;

export class Partitions<P extends Readonly<{ forget(): void }>> {
  readonly #deps: PartitionsDeps<P>;
  readonly #sealed = new Map<string, Opened<P>>();
  #active: Opened<P> | undefined;
  #startMs = 0;
  #unseenBytes = 0;
  #isDirty = false;

  constructor(deps: PartitionsDeps<P>) {
    this.#deps = deps;
    mkdirSync(deps.folder, { recursive: true, mode: 0o700 });
  }

  /** Readable ones, oldest first. */
  names(): readonly string[] {
    return this.files()
      .filter(({ isDamaged }) => !isDamaged)
      .map(({ name }) => name);
  }

  files(): readonly PartitionFile[] {
    const { folder, family } = this.#deps;
    return readdirSync(folder)
      .flatMap((name) => parseName(family, name, bytesOf(join(folder, name))) ?? [])
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The one that is written; a new one where the last is full or has lasted long enough. */
  active(): Opened<P> {
    const { bounds, now } = this.#deps;
    const open = this.#active ?? this.#reopen();
    if (open !== undefined && !this.#isOver(open, now(), bounds)) return open;
    this.#seal();
    const name = nextName(this.#deps.family, now(), this.files());
    this.sweep();
    return this.#begin(name);
  }

  /** `undefined` if it is gone or cannot be read. */
  open(name: string): P | undefined {
    if (this.#active?.name === name) return this.#active.partition;
    const known = this.#sealed.get(name);
    this.#sealed.delete(name);
    const opened = known ?? this.#tryOpen(name);
    if (opened === undefined) return undefined;
    this.#sealed.set(name, opened);
    if (this.#sealed.size > OPEN_MAX) {
      const [oldest] = this.#sealed.keys();
      if (oldest !== undefined) this.#close(oldest);
    }
    return opened.partition;
  }

  /** All of `work` or nothing. What is damaged is set aside, and the work begins again in a new partition, once. */
  write(bytes: number, work: (partition: P) => void): void {
    const { name, db, partition } = this.active();
    try {
      db.transaction(() => work(partition)).immediate();
    } catch (error) {
      partition.forget();
      if (!isDamage(error)) throw error;
      this.setAside(name);
      const next = this.active();
      next.db.transaction(() => work(next.partition)).immediate();
    }
    this.#unseenBytes += bytes;
    this.#isDirty = true;
  }

  setAside(name: string): void {
    if (this.#active?.name === name) {
      this.#active.db.close();
      this.#active = undefined;
    } else this.#close(name);
    setAside(join(this.#deps.folder, name));
    this.#deps.damaged(name);
  }

  /** Brings what was committed to the disk. */
  sync(): void {
    if (!this.#isDirty || this.#active === undefined) return;
    this.#isDirty = false;
    syncPartition(this.#active.db);
  }

  /** Removes what is too old or too much; gives the names. */
  sweep(): readonly string[] {
    const { bounds, now, folder } = this.#deps;
    const gone = expired(this.files(), this.#active?.name, bounds, now());
    for (const name of gone) {
      this.#close(name);
      for (const suffix of PARTITION_SUFFIXES) rmSync(join(folder, name + suffix), { force: true });
    }
    return gone;
  }

  close(): void {
    this.#seal();
    for (const name of [...this.#sealed.keys()]) this.#close(name);
  }

  /** After a start: goes on with the last one. */
  #reopen(): Opened<P> | undefined {
    const last = this.files().findLast(({ isDamaged }) => !isDamaged);
    if (last === undefined) return undefined;
    this.#close(last.name);
    const opened = this.#tryOpen(last.name);
    if (opened === undefined) return this.#reopen();
    this.#startMs = last.startMs;
    this.#unseenBytes = LOOK_BYTES;
    this.#active = opened;
    return opened;
  }

  #isOver({ name }: Opened<P>, now: number, bounds: PartitionBounds): boolean {
    if (now - this.#startMs >= partitionMs(bounds.ageMsMax)) return true;
    if (this.#unseenBytes < LOOK_BYTES) return false;
    this.#unseenBytes = 0;
    return bytesOf(join(this.#deps.folder, name)) >= partitionBytesMax(bounds.bytesMax);
  }

  #begin(name: string): Opened<P> {
    const { folder, family, schema, open } = this.#deps;
    const db = openPartition(join(folder, name), schema);
    const opened = { name, db, partition: open(db) };
    this.#startMs = parseName(family, name, 0)?.startMs ?? 0;
    this.#unseenBytes = 0;
    this.#active = opened;
    return opened;
  }

  #tryOpen(name: string): Opened<P> | undefined {
    const { folder, family, schema, open } = this.#deps;
    if (parseName(family, name, 0)?.isDamaged !== false) return undefined;
    // Opening would make one that retention has removed again.
    if (bytesOf(join(folder, name)) === 0) return undefined;
    try {
      const db = openPartition(join(folder, name), schema);
      return { name, db, partition: open(db) };
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.setAside(name);
      return undefined;
    }
  }

  #seal(): void {
    if (this.#active === undefined) return;
    const { db } = this.#active;
    this.#active = undefined;
    this.#isDirty = false;
    // Closing the last connection checkpoints, syncs and removes the log.
    db.close();
  }

  #close(name: string): void {
    this.#sealed.get(name)?.db.close();
    this.#sealed.delete(name);
  }
}
