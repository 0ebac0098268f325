/** What holds of named statements: one name for each text, bounded, and no trouble after a migration. */
import { describe, expect, it } from "vitest";
import { hubContext } from "./context.ts";
import { withClient } from "./database.ts";
import { STATEMENT_NAMES_MAX, StatementNames } from "./statement-names.ts";
import { openTestDatabase, useTestStore } from "./testing.ts";
import { withContext } from "./tx.ts";

const store = useTestStore();

describe("names of statements", () => {
  it("are the same for the same text, others for others, and fit PostgreSQL", () => {
    const names = new StatementNames();
    expect(names.of("select 1")).toBe(names.of("select 1"));
    expect(names.of("select 1")).not.toBe(names.of("select 2"));
    expect(names.of("select 1")).toMatch(/^[0-9a-f]{32}$/);
  });

  it("end at a bound, beyond which a statement has none", () => {
    const names = new StatementNames();
    for (let at = 0; at < STATEMENT_NAMES_MAX; at++) names.of(`select ${at}`);
    expect(names.of("one more")).toBeUndefined();
    expect(names.of("select 0")).toBeDefined();
  });

  it("are others after a renewal", () => {
    const names = new StatementNames();
    const before = names.of("select 1");
    names.renew();
    expect(names.of("select 1")).not.toBe(before);
  });
});

describe("a transaction on a connection that keeps plans", () => {
  it("runs through a migration that changes the columns of what it reads", async () => {
    const { connection, cluster } = store();
    const owner = connection("postgres");
    await withClient(owner, "test", async (client) => {
      await client.query("create table growing (one integer)");
      await client.query("grant select on growing to holdfast_app");
    });
    const database = await openTestDatabase({ app: cluster.app, key: cluster.key });
    const read = () =>
      withContext(database, hubContext("test"), (tx) => tx.query("select * from growing"));
    try {
      expect(await read()).toEqual([]);
      await withClient(owner, "test", async (client) => {
        await client.query("alter table growing add column two integer");
        await client.query("insert into growing values (1, 2)");
      });
      expect(await read()).toEqual([{ one: 1, two: 2 }]);
    } finally {
      await database.close();
      await withClient(owner, "test", (client) => client.query("drop table growing"));
    }
  });
});
