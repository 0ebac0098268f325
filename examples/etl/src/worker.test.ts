/** One or two workers as real processes on real SQLite files: copying, seats, faults of both databases, releases. */
import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compare } from "./compare.ts";
import { SourceFile } from "./source.ts";
import { type Copy, Fleet, SEATS, TEST_SEED, until, untilComplete } from "./testing/fleet.ts";

const content = { accounts: ["acme", "globex", "nobody"], seed: TEST_SEED };
const seats = SEATS;

let fleet: Fleet;
let source: SourceFile;

beforeEach(async () => {
  fleet = await Fleet.create();
  source = new SourceFile(fleet.source, content);
});
afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
  source.close();
});

const compared = (which = seats) =>
  compare({ source: fleet.source, destination: fleet.destination, seats: which });
const complete = (which = seats) =>
  untilComplete({ source: fleet.source, destination: fleet.destination, seats: which });
const health = async (copy: Copy) => JSON.parse((await copy.get("/healthz")).text);
const isReady = async (copy: Copy) => (await copy.get("/healthz")).status === 200;

/** Whether it could be done now; false while another has the lock. */
function isDone(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (/locked/.test(String(error))) return false;
    throw error;
  }
}

describe("worker", () => {
  it("copies the rows of seated accounts alone and counts exactly those", async () => {
    source.fillTo(2_500);
    const copy = await fleet.start();
    await complete();
    const { matched, unseated, seats: bySeat, destinationId } = await compared();
    expect(matched).toBeGreaterThan(1_000);
    expect(unseated).toBe(0);
    const metrics = (await copy.get("/metrics")).text;
    for (const seat of ["sea_a", "sea_g"]) {
      const counted = bySeat[seat]?.counted;
      expect(metrics).toContain(
        `etl_rows_total{seat="${seat}",source="${destinationId}"} ${counted}\n`,
      );
    }
    expect(metrics).not.toContain("sea_r");
    expect(await copy.end("SIGTERM")).toEqual([0, null]);
  });

  it("starts a seat that is added later at the account's first row", async () => {
    source.fillTo(600);
    const copy = await fleet.start();
    await complete();
    const more = [...seats, { id: "sea_n", name: "nobody", reserved: false }];
    fleet.writeSeats(more);
    copy.child.kill("SIGHUP");
    await complete(more);
    expect((await compared(more)).seats["sea_n"]?.matched).toBeGreaterThan(100);
  });

  it("keeps the seats that it knows while the file is damaged, and says so", async () => {
    source.fillTo(100);
    const copy = await fleet.start();
    await complete();
    writeFileSync(fleet.seatsFile, '{"seats":[');
    copy.child.kill("SIGHUP");
    await until(
      "it says so",
      async () => (await health(copy)).detail.seats === "seats file is not JSON",
    );
    source.fillTo(200);
    await complete();
  });

  it("stays ready and goes on by itself after the source was missing", async () => {
    source.fillTo(100);
    const copy = await fleet.start();
    await complete();
    source.close();
    renameSync(fleet.source, `${fleet.source}.away`);
    await until("it says so", async () => (await health(copy)).detail.source.includes("ENOENT"));
    expect(await isReady(copy)).toBe(true);
    renameSync(`${fleet.source}.away`, fleet.source);
    source = new SourceFile(fleet.source, content);
    source.fillTo(200);
    await complete();
    expect((await health(copy)).detail.source).toBe("ok");
  });

  it("is not ready, yet alive, until it has seen source and destination", async () => {
    source.close();
    rmSync(fleet.source);
    const copy = await fleet.start();
    await until("it says so", async () => (await health(copy)).detail.source.includes("ENOENT"));
    expect(await isReady(copy)).toBe(false);
    expect((await copy.get("/livez")).status).toBe(200);
    source = new SourceFile(fleet.source, content);
    await until("it is ready", () => isReady(copy));
  });

  it("answers probes while the source is locked, and goes on afterwards", async () => {
    source.fillTo(100);
    source.close();
    const lock = new DatabaseSync(fleet.source);
    lock.exec("pragma journal_mode = delete"); // With a write-ahead log a reader is never locked out.
    const copy = await fleet.start();
    await complete();
    await until("the lock is held", () => isDone(() => lock.exec("begin exclusive")));
    await until("it says so", async () => /locked/.test((await health(copy)).detail.source));
    expect(await isReady(copy)).toBe(true);
    lock.exec("insert into payment values (101, 'acme', 1, 'EUR', '', '2026-01-01T00:00:00Z')");
    lock.exec("commit");
    lock.close();
    await complete();
    expect((await health(copy)).detail.source).toBe("ok");
  });

  it("answers probes while the destination is locked, and goes on afterwards", async () => {
    source.fillTo(100);
    const copy = await fleet.start();
    await complete();
    const lock = new DatabaseSync(fleet.destination);
    await until("the lock is held", () => isDone(() => lock.exec("begin immediate")));
    source.fillTo(200);
    await until("it says so", async () => /locked/.test((await health(copy)).detail.destination));
    expect(await isReady(copy)).toBe(true);
    lock.close();
    await complete();
    expect((await health(copy)).detail.destination).toBe("ok");
  });

  it("starts a destination anew, with an id of its own, when the file was taken away", async () => {
    source.fillTo(100);
    await fleet.start();
    await complete();
    const before = (await compared()).destinationId;
    for (const end of ["", "-wal", "-shm"]) rmSync(fleet.destination + end, { force: true });
    await complete();
    expect((await compared()).destinationId).not.toBe(before);
  });

  it("stops at a row that it cannot copy for that account alone", async () => {
    source.fillTo(50);
    const database = new DatabaseSync(fleet.source);
    database.exec("insert into payment values (51, 'acme', 1, 'EUR', '', 'yesterday')");
    database.close();
    source.fillTo(100);
    const copy = await fleet.start();
    await until("it says so", async () => (await health(copy)).detail.rows.startsWith("row 51:"));
    await complete(seats.filter((seat) => seat.id !== "sea_a"));
    expect(await isReady(copy)).toBe(true);
  });

  it("refuses wrong settings with exit code 2", async () => {
    const copy = await fleet.start({ env: { BATCH_ROWS: "many" } });
    expect(copy.child.exitCode).toBe(2);
  });
});

describe("metrics", () => {
  const SAMPLE = /^[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? -?\d+(\.\d+)?$/;

  it("are valid: each family typed once, before its samples, and no sample twice", async () => {
    source.fillTo(100);
    const copy = await fleet.start({ version: "1.1.0" });
    await complete();
    const lines = (await copy.get("/metrics")).text.split("\n");
    expect(lines.pop()).toBe("");
    const typed = new Set<string>();
    const samples = new Set<string>();
    for (const line of lines) {
      const [, kind, name = ""] = line.split(" ");
      if (line.startsWith("#") && kind === "TYPE") {
        expect(typed.has(name)).toBe(false);
        typed.add(name);
      } else if (!line.startsWith("#")) {
        expect(line).toMatch(SAMPLE);
        const series = line.slice(0, line.lastIndexOf(" "));
        expect(typed).toContain(series.split("{")[0]);
        expect(samples.has(series)).toBe(false);
        samples.add(series);
      }
    }
    expect(samples).toContain('etl_build_info{version="1.1.0"}');
  });

  it("count a seat without rows as 0", async () => {
    const copy = await fleet.start();
    await until("it counts", async () =>
      /etl_rows_total\{seat="sea_a",source="etl-[0-9a-f-]{36}"\} 0\n/.test(
        (await copy.get("/metrics")).text,
      ),
    );
  });
});

describe("releases", () => {
  it("1.1 goes on where 1.0 stopped, with its own rules, and says its version", async () => {
    source.fillTo(300);
    const old = await fleet.start();
    await complete();
    expect(JSON.parse((await old.get("/")).text)).not.toHaveProperty("version");
    const young = await fleet.start({ version: "1.1.0" });
    await until("it is ready", () => isReady(young));
    expect(await old.end("SIGTERM")).toEqual([0, null]);
    source.fillTo(600);
    await complete();
    expect(JSON.parse((await young.get("/")).text)).toMatchObject({ version: "1.1.0" });
    const database = new DatabaseSync(fleet.destination, { readOnly: true });
    const made = database
      .prepare(
        "select release, count(*) > 50 as many from etl_row group by release order by release",
      )
      .all();
    database.close();
    expect(made.map((row) => ({ ...row }))).toEqual([
      { release: "1.0.0", many: 1 },
      { release: "1.1.0", many: 1 },
    ]);
  });

  it("1.2 never gets ready with what its blueprint passes, and leaves the lease alone", async () => {
    source.fillTo(100);
    const broken = await fleet.start({ version: "1.2.0" });
    await until(
      "it has seen the source",
      async () => (await health(broken)).detail.source === "ok",
    );
    expect(await health(broken)).toMatchObject({
      ready: false,
      role: "waiting",
      detail: { settings: expect.stringContaining("RATES_FILE is not set") },
    });
    expect((await broken.get("/livez")).status).toBe(200);
    expect(existsSync(fleet.destination)).toBe(false);
    const old = await fleet.start();
    await complete();
    expect(await isReady(old)).toBe(true);
    expect(await isReady(broken)).toBe(false);
    expect(await broken.end("SIGTERM")).toEqual([0, null]);
  });

  it("1.2 works with the rates file that it asks for", async () => {
    source.fillTo(100);
    const ratesFile = join(fleet.directory, "rates.json");
    const copy = await fleet.start({ version: "1.2.0", env: { RATES_FILE: ratesFile } });
    await until("it misses it", async () =>
      (await health(copy)).detail.settings.includes("ENOENT"),
    );
    writeFileSync(ratesFile, '{"EUR": 1000000, "USD": 2000000}');
    const rates = new Map([
      ["EUR", 1_000_000],
      ["USD", 2_000_000],
    ]);
    const { source: from, destination } = fleet;
    await untilComplete({ source: from, destination, seats, rates });
    expect(await isReady(copy)).toBe(true);
  });
});
