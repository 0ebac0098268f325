/** The telemetry store on real files: what is kept, for how long, in which order, and what damage does to it. */
import {
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TelemetryEngine } from "./engine.ts";
import type { LogPosition, LogQuery, TelemetryBounds } from "./port.ts";
import {
  appendOf,
  CELL,
  chunkOf,
  instanceId,
  missingOf,
  queryOf,
  T0,
  VENDOR,
} from "./telemetry.fixture.ts";

const MIB = 1024 * 1024;
const HOUR = 3_600_000;
const BOUNDS = { ageMsMax: 7 * 24 * HOUR, logBytesMax: 64 * MIB, sampleBytesMax: 16 * MIB };

let folder: string;
let now: number;
let notes: string[];
let engines: TelemetryEngine[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hf-telemetry-"));
  now = T0;
  notes = [];
  engines = [];
});

afterEach(() => {
  for (const engine of engines) engine.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(bounds: Partial<TelemetryBounds> = {}, at = folder): TelemetryEngine {
  const engine = new TelemetryEngine({
    folder: at,
    bounds: { ...BOUNDS, ...bounds },
    now: () => now,
    note: (what, _, file) => notes.push(`${what} ${file}`),
  });
  engines.push(engine);
  return engine;
}

function allOf(engine: TelemetryEngine, query: Partial<LogQuery>, limit: number): string[] {
  const texts: string[] = [];
  for (let after: LogPosition | undefined; ; ) {
    const page = engine.logs(queryOf({ ...query, after, limit }));
    expect(page.lines.length).toBeLessThanOrEqual(limit);
    texts.push(...page.lines.map(({ text }) => text));
    if (!page.more) return texts;
    after = page.position;
  }
}

const numbered = (from: number, count: number, word = "line") =>
  Array.from({ length: count }, (_, index) => `${word} ${from + index}`);

describe("logs", () => {
  it.each([1, 7, 100])("come back whole in pages of %i, either way round", (limit) => {
    const engine = open();
    engine.append(appendOf({ chunks: [chunkOf(numbered(0, 5))] }));
    engine.append(appendOf({ chunks: [chunkOf(numbered(5, 4), { from: 5, plain: true })] }));
    now += 8 * HOUR;
    engine.append(appendOf({ chunks: [chunkOf(numbered(9, 11), { from: 9 })] }));
    expect(allOf(engine, {}, limit)).toEqual(numbered(0, 20));
    expect(allOf(engine, { newestFirst: true }, limit)).toEqual(numbered(0, 20).toReversed());
  });

  it("are found by resource, time and literal text", () => {
    const engine = open();
    const texts = ["a % of 10", "a .* of 20", "b % of 30"];
    engine.append(
      appendOf({
        chunks: [chunkOf(texts), chunkOf(["a % elsewhere"], { resource: "web", copy: "web-1" })],
      }),
    );
    expect(allOf(engine, { contains: "a %" }, 10)).toEqual(["a % of 10", "a % elsewhere"]);
    expect(allOf(engine, { contains: ".*" }, 10)).toEqual(["a .* of 20"]);
    expect(allOf(engine, { resource: "web" }, 10)).toEqual(["a % elsewhere"]);
    expect(allOf(engine, { startMs: T0 + 1, endMs: T0 + 2 }, 10)).toEqual(["a .* of 20"]);
  });

  it("are answered for the places that were asked for and for nothing else", () => {
    const engine = open();
    const foreign = { cellId: "01980000-0000-7000-8000-0000000000ff" };
    engine.append(appendOf({ chunks: [chunkOf(["mine"])] }));
    engine.append(appendOf({ chunks: [chunkOf(["neighbour's"], { instanceId: instanceId(2) })] }));
    engine.append(appendOf({ chunks: [chunkOf(["forged"])], ...foreign }));
    engine.append(appendOf({ chunks: [chunkOf(["of another vendor"])], vendorId: instanceId(9) }));
    expect(allOf(engine, {}, 10)).toEqual(["mine"]);
    expect(allOf(engine, { places: [] }, 10)).toEqual([]);
  });

  it("are there once, however often and in whatever pieces an agent sends them", () => {
    const engine = open();
    engine.append(appendOf({ chunks: [chunkOf(numbered(0, 6))] }));
    engine.append(appendOf({ chunks: [chunkOf(numbered(0, 6))] }));
    engine.append(appendOf({ chunks: [chunkOf(numbered(3, 6), { from: 3 })] }));
    expect(allOf(engine, {}, 4)).toEqual(numbered(0, 9));
    // Also for a store that has been opened again, and in the partition after.
    engine.close();
    now += 8 * HOUR;
    const again = open();
    again.append(appendOf({ chunks: [chunkOf(numbered(7, 4), { from: 7 })] }));
    expect(allOf(again, {}, 4)).toEqual(numbered(0, 11));
  });

  it("are followed from the end on, from one position to the next", () => {
    const engine = open();
    engine.append(appendOf({ chunks: [chunkOf(numbered(0, 3))] }));
    const end = engine.end(VENDOR);
    expect(engine.logs(queryOf({ after: end })).lines).toEqual([]);
    engine.append(appendOf({ chunks: [chunkOf(numbered(3, 2), { from: 3 })] }));
    const page = engine.logs(queryOf({ after: end, limit: 1 }));
    expect(page.lines.map(({ text }) => text)).toEqual(["line 3"]);
    const rest = engine.logs(queryOf({ after: page.position }));
    expect(rest.lines.map(({ text }) => text)).toEqual(["line 4"]);
    expect(engine.logs(queryOf({ after: rest.position })).lines).toEqual([]);
  });

  it("that nobody finds do not hold the store up: the search says how far it got", () => {
    const engine = open();
    const noise = (n: number) =>
      Array.from({ length: 200 }, (_, i) => `${n} ${i} ${Math.random()} `.repeat(60));
    for (let n = 0; n < 80; n++) {
      engine.append(
        appendOf({ chunks: [chunkOf(noise(n).slice(0, 150), { from: n * 150, plain: true })] }),
      );
    }
    const first = engine.logs(queryOf({ contains: "needle" }));
    expect(first).toMatchObject({ lines: [], more: true });
    expect(allOf(engine, { contains: "needle" }, 10)).toEqual([]);
  });
});

describe("retention", () => {
  it("removes what is older than the age, whole partitions at a time", () => {
    const engine = open({ ageMsMax: 24 * HOUR });
    for (let hour = 0; hour < 60; hour += 2) {
      now = T0 + hour * HOUR;
      engine.append(appendOf({ chunks: [chunkOf([`at ${hour}`], { from: hour, timeMs: now })] }));
    }
    engine.sweep();
    const kept = allOf(engine, {}, 10);
    expect(kept[0]).toMatch(/^at 3[2-6]$/);
    expect(kept.at(-1)).toBe("at 58");
    const { keptSinceMs } = engine.logs(queryOf());
    expect(keptSinceMs).toBeGreaterThanOrEqual(T0 + 32 * HOUR);
    expect(notes.every((note) => note.startsWith("removed logs-"))).toBe(true);
  });

  it("keeps logs within their bytes, the oldest going first, and leaves samples alone", () => {
    const logBytesMax = 32 * MIB;
    const engine = open({ logBytesMax });
    engine.append(appendOf({ missing: [missingOf("life:1")] }));
    for (let n = 0; n < 500; n++) {
      now += 1_000;
      const random = Array.from({ length: 100 }, () => `${n} ${Math.random()} ${"x".repeat(900)}`);
      engine.append(appendOf({ chunks: [chunkOf(random, { from: n * 100, plain: true })] }));
    }
    engine.sweep();
    const files = readdirSync(join(folder, VENDOR)).filter((name) => name.startsWith("logs-"));
    const bytes = files.reduce((sum, name) => sum + statSync(join(folder, VENDOR, name)).size, 0);
    expect(bytes).toBeLessThanOrEqual(logBytesMax);
    expect(bytes).toBeGreaterThan(logBytesMax / 2);
    const newest = engine.logs(queryOf({ newestFirst: true, limit: 1 }));
    expect(newest.lines[0]?.text).toMatch(/^499 /);
    expect(engine.logs(queryOf({ limit: 1 })).lines[0]?.text).not.toMatch(/^0 /);
    expect(engine.missing({ ...queryOf(), limit: 10 })).toHaveLength(1);
  });
});

describe("health and metrics", () => {
  const place = { cellId: CELL, instanceId: instanceId(1) };
  const range = { startMs: T0, endMs: T0 + HOUR };

  it("give what an instance was like, newest first, once, page by page", () => {
    const engine = open();
    const sample = (n: number) => ({
      ...{ instanceId: instanceId(1), timeMs: T0 + n },
      body: new Uint8Array([n]),
    });
    engine.append(appendOf({ health: [sample(1), sample(2)] }));
    now += 8 * HOUR;
    engine.append(appendOf({ health: [sample(2), sample(3)] }));
    const query = { ...range, vendorId: VENDOR, place, beforeMs: undefined, limit: 2 };
    const first = engine.health(query);
    expect(first.samples.map(({ body }) => body[0])).toEqual([3, 2]);
    const second = engine.health({ ...query, beforeMs: T0 + 2 });
    expect(second.samples.map(({ body }) => body[0])).toEqual([1]);
  });

  it("give steps of a metric over partitions, with its extremes", () => {
    const engine = open();
    const metric = (points: [number, number][]) => ({
      ...{ instanceId: instanceId(1), resource: "worker", name: "cpu_cores", kind: 1 },
      points: points.map(([at, value]) => ({ timeMs: T0 + at, value })),
    });
    engine.append(
      appendOf({
        metrics: [
          metric([
            [0, 1],
            [500, 3],
            [1_000, 2],
          ]),
        ],
      }),
    );
    now += 8 * HOUR;
    engine.append(
      appendOf({
        metrics: [
          metric([
            [1_000, 4],
            [1_999, 6],
            [9_000, 5],
          ]),
        ],
      }),
    );
    const query = { ...range, vendorId: VENDOR, place, resource: "", names: [], limit: 10 };
    expect(engine.metrics({ ...query, stepMs: 1_000 }).series).toEqual([
      {
        ...{ resource: "worker", name: "cpu_cores", kind: 1 },
        buckets: [
          { startMs: T0, min: 1, max: 3, mean: 2, last: 3 },
          { startMs: T0 + 1_000, min: 4, max: 6, mean: 5, last: 6 },
          { startMs: T0 + 9_000, min: 5, max: 5, mean: 5, last: 5 },
        ],
      },
    ]);
    expect(engine.metrics({ ...query, stepMs: 1_000, names: ["memory_mib"] }).series).toEqual([]);
  });

  it("say once what is missing and between when", () => {
    const engine = open();
    engine.append(appendOf({ missing: [missingOf("a:1")] }));
    engine.append(appendOf({ missing: [missingOf("a:1"), missingOf("a:2", { lastMs: T0 + 50 })] }));
    const found = engine.missing({ ...queryOf(), ...range, limit: 10 });
    expect(found.map(({ count, lastMs }) => [count, lastMs])).toEqual([
      [1_204, T0 + 50],
      [1_204, T0 + 10],
    ]);
    expect(engine.missing({ ...queryOf(), startMs: T0 + 51, limit: 10 })).toEqual([]);
  });
});

describe("damage", () => {
  const fill = (engine: TelemetryEngine, chunks: number) => {
    for (let n = 0; n < chunks; n++) {
      engine.append(appendOf({ chunks: [chunkOf(numbered(n * 10, 10), { from: n * 10 })] }));
    }
  };

  /** The files as an end of the process leaves them: nothing closed, nothing brought to the disk. */
  function copyOfFiles(): string {
    const copy = mkdtempSync(join(folder, "copy-"));
    const to = join(copy, VENDOR);
    const from = join(folder, VENDOR);
    rmSync(to, { recursive: true, force: true });
    open({}, copy).append(appendOf({ missing: [missingOf("x")] }));
    for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
    return copy;
  }

  it("of the end of the log costs the last commits and nothing before them", () => {
    fill(open(), 40);
    const wal = readdirSync(join(folder, VENDOR)).find((name) => /^logs.*-wal$/.test(name)) ?? "";
    const { size } = statSync(join(folder, VENDOR, wal));
    let before = 400;
    for (const part of [1, 0.99, 0.7, 0.4]) {
      const copy = copyOfFiles();
      truncateSync(join(copy, VENDOR, wal), Math.floor(size * part) - (part === 1 ? 0 : 13));
      const kept = allOf(open({}, copy), {}, 100);
      expect(kept).toEqual(numbered(0, kept.length));
      expect(kept.length % 10).toBe(0);
      if (part === 1) expect(kept).toHaveLength(400);
      else expect(kept.length).toBeLessThan(before);
      expect(kept.length).toBeGreaterThan(0);
      before = kept.length;
    }
  });

  it("of a chunk is told of, and the others are still read", () => {
    const engine = open();
    fill(engine, 3);
    engine.close();
    const [name = ""] = readdirSync(join(folder, VENDOR)).filter((each) => /^logs/.test(each));
    const path = join(folder, VENDOR, name);
    const bytes = readFileSync(path);
    const { data } = chunkOf(numbered(10, 10), { from: 10 });
    const at = bytes.indexOf(Buffer.from(data));
    expect(at).toBeGreaterThan(0);
    const file = openSync(path, "r+");
    writeSync(file, Buffer.from([(bytes[at + 20] ?? 0) ^ 0xff]), 0, 1, at + 20);
    const again = open();
    const page = again.logs(queryOf());
    expect(page.lines.map(({ text }) => text)).toEqual([...numbered(0, 10), ...numbered(20, 10)]);
    expect(page.damaged).toEqual([expect.objectContaining({ reason: "STORE_DAMAGED", count: 10 })]);
  });

  it("of a file sets it aside, says so, and goes on with a new one", () => {
    const engine = open();
    fill(engine, 3);
    engine.close();
    const [name = ""] = readdirSync(join(folder, VENDOR)).filter((each) => /^logs/.test(each));
    writeFileSync(join(folder, VENDOR, name), "this is not a database at all".repeat(400));
    now += 1_000;
    const again = open();
    again.append(appendOf({ chunks: [chunkOf(numbered(30, 5), { from: 30 })] }));
    expect(allOf(again, {}, 10)).toEqual(numbered(30, 5));
    expect(notes).toEqual([`damaged ${name}`]);
    expect(again.missing({ ...queryOf(), limit: 10 })).toEqual([
      expect.objectContaining({ reason: "STORE_DAMAGED", firstMs: T0 }),
    ]);
  });
});
