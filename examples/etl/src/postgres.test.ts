/** The worker on a real PostgreSQL at both ends, with copies that overlap and sessions that are cut. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { compare } from "./compare.ts";
import { SOURCE_TABLE } from "./decode.ts";
import { sourceRow } from "./source.ts";
import {
  type Copy,
  Fleet,
  SEATS,
  seededRandom,
  TEST_SEED,
  until,
  untilComplete,
} from "./testing/fleet.ts";
import { TestPostgres } from "./testing/postgres.ts";

const ROUNDS = 5;
const content = { accounts: ["acme", "globex", "nobody"], seed: TEST_SEED };

let postgres: TestPostgres;
let fleet: Fleet;
let source: string;
let destination: string;
let tests = 0;

beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());
beforeEach(async () => {
  tests += 1;
  source = await postgres.createDatabase(`source${tests}`);
  destination = await postgres.createDatabase(`destination${tests}`);
  await postgres.query(
    `source${tests}`,
    `create table ${SOURCE_TABLE} (id bigint primary key, account text not null, amount_cents bigint not null,
       currency text not null, note text not null, created_at timestamptz not null)`,
  );
  fleet = await Fleet.create();
});
afterEach(() => fleet[Symbol.asyncDispose]());

async function addRows(firstId: number, lastId: number): Promise<void> {
  const rows = Array.from({ length: lastId - firstId + 1 }, (_, i) =>
    sourceRow(content, firstId + i),
  );
  await postgres.query(
    `source${tests}`,
    `insert into ${SOURCE_TABLE} select id, account, "amountCents", currency, note, "createdAt"
       from jsonb_to_recordset($1) as r(id bigint, account text, "amountCents" bigint, currency text,
         note text, "createdAt" timestamptz)`,
    [JSON.stringify(rows)],
  );
}

const both = () => ({ source, destination, seats: SEATS });
const start = (version = "1.1.0") =>
  fleet.start({ version, source, destination, env: { BATCH_ROWS: "20", LEASE_MS: "500" } });
const health = async (copy: Copy) => JSON.parse((await copy.get("/healthz")).text);

describe("worker on PostgreSQL", () => {
  it("copies each row exactly once over hand-overs by SIGTERM and kill -9", async () => {
    const random = seededRandom(TEST_SEED);
    let last = 2_000;
    await addRows(1, last);
    let serving = await start("1.0.0");
    for (let round = 0; round < ROUNDS; round++) {
      const next = await start();
      await until("the new copy is ready", async () => (await health(next)).ready);
      await addRows(last + 1, last + 100);
      last += 100;
      const signal = random() < 0.5 ? "SIGTERM" : "SIGKILL";
      expect(await serving.end(signal)).toEqual(signal === "SIGTERM" ? [0, null] : [null, signal]);
      serving = next;
    }
    await untilComplete(both());
    const { matched, unseated, seats } = await compare(both());
    expect(matched).toBeGreaterThan(1_000);
    expect(unseated).toBe(0);
    const metrics = (await serving.get("/metrics")).text;
    for (const seat of ["sea_a", "sea_g"]) {
      expect(metrics).toMatch(
        new RegExp(`seat="${seat}",source="etl-[^"]+"} ${seats[seat]?.counted}\n`),
      );
    }
  });

  it("goes on after its sessions were cut", async () => {
    await addRows(1, 500);
    const copy = await start();
    await untilComplete(both());
    await postgres.query(
      "postgres",
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'holdfast-etl'",
    );
    await addRows(501, 1_000);
    await untilComplete(both());
    expect((await health(copy)).ready).toBe(true);
  });

  it("waits for a destination whose lease row is locked, and goes on afterwards", async () => {
    await addRows(1, 100);
    const copy = await start();
    await untilComplete(both());
    const locked = postgres.query(
      `destination${tests}`,
      "begin; select 1 from etl_lease for update; select pg_sleep(2); commit",
    );
    await until("it says so", async () =>
      /lock timeout/.test((await health(copy)).detail.destination),
    );
    expect((await copy.get("/livez")).status).toBe(200);
    await locked;
    await addRows(101, 200);
    await untilComplete(both());
  });
});
