/** Logs on a real disk as workloads leave them: read once, from where it was left, whatever happens to the files. */
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { create, fromBinary } from "@bufbuild/protobuf";
import { TelemetryAckSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  LogEncoding,
  LogLinesSchema,
  type Telemetry,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DriverContext } from "../drivers/driver.ts";
import { logFilesIn, readLog, redactorOf } from "../drivers/log-reader.ts";
import { instanceDirectories } from "../local/directories.ts";
import { TelemetryBuffer } from "./buffer.ts";
import { FIRST_BYTES_MAX, readCursors } from "./cursors.ts";
import { LINES_BURST_MAX, LogShipper } from "./log-shipper.ts";
import { TelemetryReport } from "./report.ts";

const HEX = "01980000000070008000000000000001";
const INSTANCE = `ins_${HEX}`;
const HANDLE = "worker-1.1-abcdef-0r0";
const quiet: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

class MovableClock implements Clock {
  offsetMs = 0;
  now = () => Date.now() + this.offsetMs;
  monotonic = () => performance.now() + this.offsetMs;
  sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(ms, signal);
}

let stateDir: string;
let clock: MovableClock;
let log: string;
let secrets: string;

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "hf-shipper-"));
  clock = new MovableClock();
  const { logs, run } = instanceDirectories(stateDir, INSTANCE);
  log = join(logs, `${HANDLE}.log`);
  secrets = join(run, HANDLE, "secrets");
  mkdirSync(secrets, { recursive: true });
});

afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

/** One life of the agent: reads, tells, and ends by a kill unless `save` is called. */
function life() {
  const context: DriverContext = {
    ...{ log: quiet, clock, random: Math.random, stateDir },
    signal: new AbortController().signal,
    directories: (id) => instanceDirectories(stateDir, id),
  };
  const buffer = new TelemetryBuffer("life");
  const cursorsFile = join(stateDir, "telemetry.json");
  const driver = {
    logFiles: async (at: DriverContext) => logFilesIn("process", at),
    readLog,
    redactor: redactorOf,
  };
  const shipper = new LogShipper({
    ...{ drivers: [driver], context, buffer, clock, log: quiet, cursorsFile },
    ...{ cursors: readCursors(cursorsFile), ring: () => undefined },
  });
  const report = new TelemetryReport({ buffer, settled: (lines) => shipper.settled(lines) });
  report.opened();
  const tell = () => {
    const told: Telemetry[] = [];
    for (let next = report.next(); next !== undefined; next = report.next()) {
      told.push(next);
      report.acked(create(TelemetryAckSchema, { seq: next.seq }));
    }
    return { texts: told.flatMap(textsOf), missing: told.flatMap(({ missing }) => missing), told };
  };
  return { shipper, tell };
}

function textsOf({ logs }: Telemetry): string[] {
  return logs.flatMap(({ data, encoding }) => {
    const plain = encoding === LogEncoding.ZSTD ? new Uint8Array(zstdDecompressSync(data)) : data;
    return fromBinary(LogLinesSchema, plain).lines.map(({ text }) => text);
  });
}

const numbered = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => `line ${from + index}`);
const write = (lines: readonly string[]) => appendFileSync(log, `${lines.join("\n")}\n`);

/** As the driver does it: the workload goes on appending to the same file. */
function moveToPart(part: number): void {
  copyFileSync(log, `${log}.${part}`);
  truncateSync(log, 0);
}

describe("a workload's log", () => {
  it("is told as it grows, and a last line without an end after a while", async () => {
    const { shipper, tell } = life();
    write(numbered(0, 3));
    await shipper.look();
    appendFileSync(log, "no end");
    await shipper.look();
    expect(tell().texts).toEqual(numbered(0, 3));
    clock.offsetMs += 2_000;
    await shipper.look();
    expect(tell().texts).toEqual(["no end"]);
  });

  it("is gone on with where the last life was, without a line twice or lost", async () => {
    const first = life();
    write(numbered(0, 5));
    await first.shipper.look();
    expect(first.tell().texts).toEqual(numbered(0, 5));
    first.shipper.save();
    write(numbered(5, 5));
    await first.shipper.look();
    // Killed: what was read and not answered is read again.
    const second = life();
    write(numbered(10, 2));
    await second.shipper.look();
    expect(second.tell().texts).toEqual(numbered(5, 7));
  });

  it("gets the same positions in another life, so that the hub can tell what it has", async () => {
    write(numbered(0, 5));
    const positions = async () => {
      const { shipper, tell } = life();
      await shipper.look();
      return tell().told.flatMap(({ logs }) =>
        logs.map((chunk) => [chunk.copy, chunk.lastPosition]),
      );
    };
    expect(await positions()).toEqual(await positions());
  });

  it("that was there before is begun near its end", async () => {
    writeFileSync(log, `${"x".repeat(99)}\n`.repeat(20_000));
    const { shipper, tell } = life();
    await shipper.look();
    const { texts, missing } = tell();
    const lines = texts.length + Number(missing[0]?.count ?? 0);
    expect(lines).toBeLessThanOrEqual(Math.ceil(FIRST_BYTES_MAX / 100));
    expect(lines).toBeGreaterThan(FIRST_BYTES_MAX / 100 - 2);
  });

  it("that is moved to parts is read through them in order", async () => {
    const { shipper, tell } = life();
    write(numbered(0, 3));
    await shipper.look();
    write(numbered(3, 3));
    moveToPart(1);
    write(numbered(6, 2));
    moveToPart(2);
    write(numbered(8, 2));
    await shipper.look();
    await shipper.look();
    const { told } = tell();
    expect(told.flatMap(textsOf)).toEqual(numbered(0, 10));
  });

  it("whose unread part is gone says so and goes on", async () => {
    const { shipper, tell } = life();
    write(numbered(0, 3));
    await shipper.look();
    tell();
    write(numbered(3, 3));
    moveToPart(1);
    moveToPart(2);
    rmSync(`${log}.1`);
    write(["after"]);
    await shipper.look();
    await shipper.look();
    const { texts, missing } = tell();
    expect(texts).toEqual(["after"]);
    expect(missing).toEqual([expect.objectContaining({ reason: "LOG_CUT" })]);
  });

  it("that is cut in place is read from its beginning, under a name of its own", async () => {
    const { shipper, tell } = life();
    write(numbered(0, 100));
    await shipper.look();
    const before = tell().told[0]?.logs[0]?.copy ?? "";
    truncateSync(log, 0);
    write(["after the cut"]);
    await shipper.look();
    const { texts, told, missing } = tell();
    expect(texts).toEqual(["after the cut"]);
    expect(missing[0]?.reason).toBe("LOG_CUT");
    expect(told[0]?.logs[0]?.copy).toBe(`${before}.1`);
  });

  it("that floods is told up to the rate, and the rest is counted to the line", async () => {
    const { shipper, tell } = life();
    const lines = 100_000;
    write(["begins"]);
    await shipper.look();
    tell();
    write(numbered(0, lines));
    const before = performance.now();
    for (let look = 0; look < 3; look++) await shipper.look();
    const { texts, missing } = tell();
    const lost = missing.reduce((sum, { count }) => sum + Number(count), 0);
    expect(texts.length).toBeGreaterThanOrEqual(LINES_BURST_MAX - 1);
    expect(texts.length).toBeLessThan(LINES_BURST_MAX + (performance.now() - before) + 1_000);
    expect(texts.length + lost).toBe(lines);
    expect(missing.every(({ reason }) => reason === "RATE_LIMITED")).toBe(true);
    clock.offsetMs += 10_000;
    write(["calm again"]);
    await shipper.look();
    expect(tell().texts).toEqual(["calm again"]);
  });

  it("shows no secret, not even in the last words of a copy that is gone", async () => {
    writeFileSync(join(secrets, "dsn"), "postgres://u:hunter22@db\n");
    const { shipper, tell } = life();
    write(["opening postgres://u:hunter22@db now"]);
    await shipper.look();
    rmSync(join(secrets, ".."), { recursive: true });
    write(["failed: postgres://u:hunter22@db"]);
    await shipper.look();
    expect(tell().texts).toEqual(["opening [redacted] now", "failed: [redacted]"]);
  });

  it("whose secrets nobody knows any more is counted and not told", async () => {
    writeFileSync(join(secrets, "dsn"), "hunter22\n");
    const first = life();
    write(["known"]);
    await first.shipper.look();
    first.tell();
    first.shipper.save();
    rmSync(join(secrets, ".."), { recursive: true });
    write(["hunter22", "hunter22"]);
    const second = life();
    await second.shipper.look();
    const { texts, missing } = second.tell();
    expect(texts).toEqual([]);
    expect(missing).toEqual([expect.objectContaining({ reason: "SECRETS_GONE", count: 2n })]);
  });

  it("of a copy without secrets is told to its end also after the copy and the agent have gone", async () => {
    const first = life();
    write(["known"]);
    await first.shipper.look();
    first.tell();
    first.shipper.save();
    rmSync(join(secrets, ".."), { recursive: true });
    write(["last words"]);
    const second = life();
    await second.shipper.look();
    expect(second.tell().texts).toEqual(["last words"]);
  });

  it("of long ago, of a copy that nobody knows, is left alone", async () => {
    rmSync(join(secrets, ".."), { recursive: true });
    write(["history"]);
    utimesSync(log, 1_700_000_000, 1_700_000_000);
    const { shipper, tell } = life();
    await shipper.look();
    expect(tell()).toMatchObject({ texts: [], missing: [] });
  });
});
