/**
 * What the last look read, so that the next one reads only what was changed since: records, and the content of files
 * that are not as they were written. Nothing depends on it but the time that a look takes.
 */
import { statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { type FileRecord, type FileStat, isUntouched, readRecord, statOf } from "./record.ts";

/** Entries of each kind; a look at more files reads some of them again. */
const SEEN_MAX = 20_000;

type Seen<Value> = Readonly<{ stat: FileStat; value: Value }>;

export class SeenFiles {
  readonly #records = new Map<string, Seen<FileRecord | undefined>>();
  readonly #digests = new Map<string, Seen<string>>();
  #places: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  /** The record in this file, read again if the file is another one than before. */
  record(path: string): FileRecord | undefined {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) {
      if (this.#records.delete(path)) this.#places = undefined;
      return undefined;
    }
    const known = this.#records.get(path);
    if (known !== undefined && isUntouched(known.stat, found)) return known.value;
    const value = readRecord(path);
    keep(this.#records, path, { stat: statOf(found), value });
    this.#places = undefined;
    return value;
  }

  /** Folder to the names of ours in it, as far as a look has read their records. */
  places(): ReadonlyMap<string, ReadonlySet<string>> {
    if (this.#places !== undefined) return this.#places;
    const places = new Map<string, Set<string>>();
    for (const { value } of this.#records.values()) {
      if (value === undefined) continue;
      const folder = dirname(value.path);
      const names = places.get(folder) ?? new Set();
      places.set(folder, names.add(basename(value.path)));
    }
    this.#places = places;
    return places;
  }

  /** The digest of a file that looks like this, if it was read when it looked so. */
  digest(path: string, stat: FileStat): string | undefined {
    const known = this.#digests.get(path);
    return known !== undefined && isUntouched(known.stat, stat) ? known.value : undefined;
  }

  keepDigest(path: string, stat: FileStat, value: string): void {
    keep(this.#digests, path, { stat, value });
  }
}

/** The oldest goes first. */
function keep<Value>(map: Map<string, Seen<Value>>, path: string, seen: Seen<Value>): void {
  map.delete(path);
  map.set(path, seen);
  const [oldest] = map.keys();
  if (map.size > SEEN_MAX && oldest !== undefined) map.delete(oldest);
}
