/**
 * What the last look read, so that the next one reads only what was changed since: records, and the content of files
 * that are not as they were written. Nothing depends on it but the time that a look takes.
 */
import { statSync } from "node:fs";
import { type FileRecord, type FileStat, isUntouched, readRecord, statOf } from "./record.ts";

/** Entries of each kind; a look at more files reads some of them again. */
const SEEN_MAX = 20_000;

type Seen<Value> = Readonly<{ stat: FileStat; value: Value }>;

export class SeenFiles {
  readonly #records = new Map<string, Seen<FileRecord | undefined>>();
  readonly #digests = new Map<string, Seen<string>>();

  /** The record in this file, read again if the file is another one than before. */
  record(path: string): FileRecord | undefined {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) {
      this.#records.delete(path);
      return undefined;
    }
    const known = this.#records.get(path);
    if (known !== undefined && isUntouched(known.stat, found)) return known.value;
    const value = readRecord(path);
    keep(this.#records, path, { stat: statOf(found), value });
    return value;
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
