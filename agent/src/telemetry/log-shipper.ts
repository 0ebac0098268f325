/**
 * Reads what workloads have written and puts it where it waits to be told. Input-free: each look finds for itself
 * what there is. It reads from the files that the workloads append to, so it can neither stop nor slow them; what
 * comes too fast is counted and left out.
 */

import { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { TokenBucket } from "@holdfast/shared/token-bucket.ts";
import type { Driver, DriverContext, LogFile, LogRead, Redactor } from "../drivers/driver.ts";
import type { TelemetryBuffer } from "./buffer.ts";
import { type Cursor, copyOf, firstCursor, placeOf, positionOf, writeCursors } from "./cursors.ts";
import type { WaitingLine } from "./encode.ts";
import { countLines, type OpenLine, splitLines } from "./lines.ts";

/** Lines of one instance in a second, and at once after a quiet time. */
export const LINES_PER_SECOND_MAX = 1_000;
export const LINES_BURST_MAX = 5_000;
/** Between two looks while something is written, and while nothing is. */
export const LOOK_MS = 500;
const QUIET_LOOK_MS = 2_000;
const QUIET_AFTER_MS = 10_000;
/** Of one log in one look; the rest comes with the next one. */
const LOOK_BYTES_MAX = 32 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
/** A last line without an end is told when nothing was added to it for so long. */
const UNENDED_MS = 1_000;
/** What an agent that is killed may tell twice: what was answered since. */
export const CURSORS_MS = 1_000;

/** What of a driver is needed here. */
export type LogDriver = Pick<Driver, "logFiles" | "readLog" | "redactor">;

export type LogShipperDeps = Readonly<{
  drivers: readonly LogDriver[];
  context: DriverContext;
  buffer: TelemetryBuffer;
  clock: Clock;
  log: Log;
  cursorsFile: string;
  cursors: Map<string, Cursor>;
  /** There is something to tell. */
  ring(): void;
}>;

type Tracked = {
  cursor: Cursor;
  open: OpenLine | undefined;
  redactor: Redactor | undefined;
};

export class LogShipper {
  readonly #deps: LogShipperDeps;
  readonly #tracked = new Map<string, Tracked>();
  readonly #buckets = new Map<string, TokenBucket>();
  /** How far each log has been told, by the name of its copy. */
  readonly #settled: Map<string, Cursor>;
  readonly #startedAt: number;
  /** Which log a copy's name stands for, and how often that had been cut. */
  readonly #names = new Map<string, Readonly<{ key: string; cuts: number }>>();
  #isDirty = false;

  constructor(deps: LogShipperDeps) {
    this.#deps = deps;
    this.#settled = deps.cursors;
    this.#startedAt = deps.clock.now();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    let foundAt = clock.monotonic();
    let savedAt = foundAt;
    while (!signal.aborted) {
      const found = await this.look().catch((error: unknown) => {
        log.warn({ error: causeChain(error) }, "could not read the workloads' logs");
        return 0;
      });
      const now = clock.monotonic();
      if (found > 0) foundAt = now;
      if (now - savedAt >= CURSORS_MS) {
        this.save();
        savedAt = now;
      }
      const isQuiet = now - foundAt > QUIET_AFTER_MS;
      await clock.sleep(isQuiet ? QUIET_LOOK_MS : LOOK_MS, signal);
    }
    this.save();
  }

  /** One look at every log; how many lines were found. */
  async look(): Promise<number> {
    const { drivers, context, ring } = this.#deps;
    let found = 0;
    const seen = new Set<string>();
    for (const driver of drivers) {
      for (const file of await driver.logFiles(context)) {
        const key = keyOf(file);
        seen.add(key);
        found += await this.#read(driver, file, key);
      }
    }
    for (const key of this.#tracked.keys()) if (!seen.has(key)) this.#tracked.delete(key);
    for (const key of this.#settled.keys()) {
      if (!seen.has(key)) this.#isDirty = this.#settled.delete(key);
    }
    for (const [name, { key }] of this.#names) if (!seen.has(key)) this.#names.delete(name);
    if (found > 0) ring();
    return found;
  }

  /** They are with the hub: the next life of this agent goes on after them. */
  settled(lines: readonly WaitingLine[]): void {
    for (const { instanceId, copy, position } of lines) {
      const named = this.#names.get(`${instanceId}/${copy}`);
      const tracked = named === undefined ? undefined : this.#tracked.get(named.key);
      if (named === undefined || tracked === undefined) continue;
      const { isPlain } = tracked.cursor;
      this.#settle(named.key, { ...placeOf(position), cuts: named.cuts, isPlain });
    }
  }

  #settle(key: string, cursor: Cursor): void {
    this.#settled.set(key, cursor);
    this.#isDirty = true;
  }

  save(): void {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      writeCursors(this.#deps.cursorsFile, this.#settled);
    } catch (error) {
      this.#deps.log.warn({ error: causeChain(error) }, "could not keep how far logs were told");
    }
  }

  async #read(driver: LogDriver, file: LogFile, key: string): Promise<number> {
    const { context, clock } = this.#deps;
    const tracked = this.#trackedOf(driver, file, key);
    let found = 0;
    for (let bytes = 0; bytes < LOOK_BYTES_MAX; ) {
      const { segment, offset } = tracked.cursor;
      if (segment === file.segment && offset === file.bytes) break;
      const read = await driver.readLog(file, tracked.cursor, READ_BYTES, context);
      if (read.wasCut) this.#cut(file, tracked, read);
      const isLast = segment === file.segment && read.data.length < READ_BYTES;
      const isEnd = read.isEnd || (isLast && clock.now() - file.writtenAt >= UNENDED_MS);
      const used = this.#take(file, tracked, read.data, isEnd);
      found += used.lines;
      bytes += used.bytes;
      if (read.isEnd && used.bytes === read.data.length) {
        tracked.cursor = { ...tracked.cursor, segment: segment + 1, offset: 0 };
        tracked.open = undefined;
      } else if (isLast || used.bytes === 0) break;
    }
    return found;
  }

  #take(file: LogFile, tracked: Tracked, data: Buffer, isEnd: boolean) {
    const { redactor, cursor } = tracked;
    const { instanceId, resourceId: resource } = file.key;
    if (redactor === undefined && !cursor.isPlain) {
      // What was written before this agent's first look at the log is no loss of this agent's.
      const isOld = !this.#settled.has(keyOf(file)) && file.writtenAt < this.#startedAt;
      if (!isOld) this.#lose(file, data, "SECRETS_GONE", countLines(data));
      this.#advance(tracked, data.length);
      this.#settle(keyOf(file), tracked.cursor);
      return { lines: 0, bytes: data.length };
    }
    const bucket = this.#bucketOf(instanceId);
    const redact = (line: string) => redactor?.redact(line) ?? line;
    const linesMax = bucket.available();
    const split = splitLines(data, { open: tracked.open, isEnd, linesMax, redact });
    const copy = copyOf(file, cursor);
    const timeMs = Math.min(this.#deps.clock.now(), Math.round(file.writtenAt));
    for (const { text, cutBytes, end } of split.lines) {
      const position = positionOf({ ...cursor, offset: cursor.offset + end });
      this.#deps.buffer.putLine({ instanceId, resource, copy, timeMs, position, text, cutBytes });
    }
    bucket.take(split.lines.length);
    tracked.open = split.open;
    const isOver = split.lines.length >= linesMax && split.used < data.length;
    const rest = isOver ? wholeLines(data.subarray(split.used), isEnd) : undefined;
    if (rest !== undefined && rest.length > 0) {
      this.#lose(file, rest, "RATE_LIMITED", countLines(rest));
      tracked.open = undefined;
    }
    const bytes = split.used + (rest?.length ?? 0);
    this.#advance(tracked, bytes);
    return { lines: split.lines.length, bytes };
  }

  /** What is read from now on may have been told before, and some was never read. */
  #cut(file: LogFile, tracked: Tracked, { at }: LogRead): void {
    this.#lose(file, Buffer.alloc(0), "LOG_CUT", 0);
    const isBack = at.offset < tracked.cursor.offset;
    const cuts = tracked.cursor.cuts + (isBack ? 1 : 0);
    tracked.cursor = { ...tracked.cursor, ...at, cuts };
    tracked.open = undefined;
    this.#name(file, tracked.cursor);
  }

  #lose({ key, writtenAt }: LogFile, data: Buffer, reason: string, count: number): void {
    const now = this.#deps.clock.now();
    const span = { firstMs: Math.min(now, Math.round(writtenAt)), lastMs: now };
    const { instanceId, resourceId: resource } = key;
    const about = { class: TelemetryClass.LOGS, instanceId, resource, reason };
    this.#deps.buffer.lost({ ...about, ...span, count, bytes: data.length });
  }

  #advance(tracked: Tracked, bytes: number): void {
    tracked.cursor = { ...tracked.cursor, offset: tracked.cursor.offset + bytes };
  }

  #trackedOf(driver: LogDriver, file: LogFile, key: string): Tracked {
    const known = this.#tracked.get(key);
    if (known !== undefined) return this.#withRedactor(driver, file, known);
    const cursor = this.#settled.get(key) ?? firstCursor(file);
    const tracked: Tracked = { cursor, open: undefined, redactor: undefined };
    this.#tracked.set(key, tracked);
    this.#name(file, cursor);
    return this.#withRedactor(driver, file, tracked);
  }

  /** Asked while the copy's secrets are there, and kept for what it writes in its last moments. */
  #withRedactor(driver: LogDriver, file: LogFile, tracked: Tracked): Tracked {
    const isGrown = file.bytes !== tracked.cursor.offset || file.segment !== tracked.cursor.segment;
    if (!isGrown) return tracked;
    const redactor = driver.redactor(file, this.#deps.context);
    if (redactor !== undefined) {
      tracked.redactor = redactor;
      tracked.cursor = { ...tracked.cursor, isPlain: !redactor.isNeeded };
    }
    return tracked;
  }

  #name(file: LogFile, cursor: Cursor): void {
    const name = `${file.key.instanceId}/${copyOf(file, cursor)}`;
    this.#names.set(name, { key: keyOf(file), cuts: cursor.cuts });
  }

  #bucketOf(instanceId: string): TokenBucket {
    const known = this.#buckets.get(instanceId);
    if (known !== undefined) return known;
    const bounds = { perSecond: LINES_PER_SECOND_MAX, burst: LINES_BURST_MAX };
    const bucket = new TokenBucket(bounds, this.#deps.clock);
    this.#buckets.set(instanceId, bucket);
    return bucket;
  }
}

function keyOf({ key, handle, identity }: LogFile): string {
  return `${key.instanceId}/${handle}~${identity}`;
}

/** Up to and with the last newline; all of it where nothing follows. */
function wholeLines(data: Buffer, isEnd: boolean): Buffer {
  return isEnd ? data : data.subarray(0, data.lastIndexOf(0x0a) + 1);
}
