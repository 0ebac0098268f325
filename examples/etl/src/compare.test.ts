/** Each kind of damage done to a copied destination is found and named. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compare } from "./compare.ts";
import { SourceFile } from "./source.ts";
import { Fleet, SEATS, TEST_SEED, untilComplete } from "./testing/fleet.ts";

let fleet: Fleet;
let source: SourceFile;

beforeEach(async () => {
  fleet = await Fleet.create();
  source = new SourceFile(fleet.source, { accounts: ["acme", "globex"], seed: TEST_SEED });
  source.fillTo(1_500);
  const copy = await fleet.start({ version: "1.1.0" });
  await untilComplete(both());
  await copy.end("SIGTERM");
});
afterEach(async () => {
  await fleet[Symbol.asyncDispose]();
  source.close();
});

const both = () => ({ source: fleet.source, destination: fleet.destination, seats: SEATS });
const change = (sql: string) => {
  const database = new DatabaseSync(fleet.destination);
  database.exec(sql);
  database.close();
};
const ANY = "where rowid = (select max(rowid) / 2 from etl_row)";

describe("compare", () => {
  it.each([
    {
      it: "a row that is missing",
      sql: `delete from etl_row ${ANY}`,
      found: { missing: 1 },
      says: "is missing",
    },
    {
      it: "a changed amount",
      sql: `update etl_row set amount_cents = amount_cents + 1 ${ANY}`,
      found: { wrong: 1 },
      says: "has amountCents",
    },
    {
      it: "a row of another tenant",
      sql: `update etl_row set seat = iif(seat = 'sea_a', 'sea_g', 'sea_a') ${ANY}`,
      found: { missing: 1, extra: 1 },
      says: "once too often",
    },
    {
      it: "a row that is there twice",
      sql: `create table copy as select * from etl_row; drop table etl_row; alter table copy rename to etl_row;
        insert into etl_row select * from etl_row where rowid = 77`,
      found: { extra: 1 },
      says: "once too often",
    },
    {
      it: "a count that is not the number of rows",
      sql: "update etl_checkpoint set row_count = row_count + 1 where seat = 'sea_g'",
      found: {},
      says: "sea_g: counted",
    },
  ])("finds $it", async ({ sql, found, says }) => {
    expect(await compare(both())).toMatchObject({
      isComplete: true,
      matched: 1_500,
      differences: [],
    });
    change(sql);
    const result = await compare(both());
    expect(result).toMatchObject({ isExact: false, ...found });
    expect(result.differences.join("\n")).toContain(says);
  });

  it("tells rows that are not copied yet from rows that are missing", async () => {
    source.fillTo(1_600);
    const result = await compare(both());
    expect(result).toMatchObject({ isExact: true, isComplete: false, pending: 100, missing: 0 });
  });

  it("counts rows of seats that it was not asked about apart", async () => {
    const result = await compare({ ...both(), seats: SEATS.filter(({ id }) => id !== "sea_g") });
    expect(result.isComplete).toBe(true);
    expect(result.unseated + result.matched).toBe(1_500);
    expect(result.unseated).toBeGreaterThan(100);
  });

  it("is a command whose exit code tells exact from different", async () => {
    const check = () => {
      const script = fileURLToPath(new URL("check.ts", import.meta.url));
      const ends = ["--source", fleet.source, "--destination", fleet.destination];
      const args = ["--no-warnings", script, ...ends, "--seats", fleet.seatsFile];
      return once(spawn(process.execPath, args, { stdio: "ignore" }), "exit");
    };
    expect(await check()).toEqual([0, null]);
    change(`delete from etl_row ${ANY}`);
    expect(await check()).toEqual([10, null]);
  });
});
