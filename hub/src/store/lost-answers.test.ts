/** What holds when the database goes away while somebody waits for its answer. */
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hubContext } from "./context.ts";
import { type Database, openDatabase } from "./database.ts";
import { silentLog, useTestStore } from "./testing.ts";
import { type TestWay, wayTo } from "./testing-way.ts";
import { readWithContext, withContext } from "./tx.ts";
import * as vendors from "./vendors.ts";

const ANSWER_MS = 300;

const store = useTestStore();
let way: TestWay;
let database: Database;

beforeAll(async () => {
  way = await wayTo(store());
  database = await openDatabase({
    app: way.app,
    key: way.key,
    clock: systemClock,
    random: Math.random,
    log: silentLog,
    answerMsMax: ANSWER_MS,
  });
});
afterAll(async () => {
  await database.close();
  await way.close();
});

const read = () => readWithContext(database, hubContext("test"), vendors.list);

describe("a database that goes away", () => {
  it("without a word fails the statement in time, and the next one takes another connection", async () => {
    const asked = readWithContext(database, hubContext("test"), async (tx) => {
      way.swallow();
      return await tx.query("select 1");
    });
    await expect(asked).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(await read()).toEqual([]);
  });

  it("while it commits leaves no bell unrung, since it may have committed", async () => {
    let rings = 0;
    const written = withContext(database, hubContext("test"), async (tx) => {
      tx.afterCommit(() => {
        rings += 1;
      });
      await tx.query("select 1");
      way.cut();
    });
    await expect(written).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(rings).toBe(1);
    way.mend();
    expect(await read()).toEqual([]);
  });

  it("in the breath in which it greets fails that transaction and nothing else", async () => {
    way.greetAndEnd();
    await systemClock.sleep(10);
    await expect(read()).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    way.mend();
    expect(await read()).toEqual([]);
  });

  it("before it commits rings nobody", async () => {
    let rings = 0;
    const written = withContext(database, hubContext("test"), async (tx) => {
      tx.afterCommit(() => {
        rings += 1;
      });
      way.cut();
      await tx.query("select 1");
    });
    await expect(written).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
    expect(rings).toBe(0);
    way.mend();
  });
});
