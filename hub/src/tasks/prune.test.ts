/** Housekeeping on a real PostgreSQL: what has run out goes, what is needed stays, coming months are there. */
import { randomBytes } from "node:crypto";
import { systemClock } from "@holdfast/shared/clock.ts";
import { expect, it } from "vitest";
import { withClient } from "../store/database.ts";
import * as idempotency from "../store/idempotency.ts";
import { silentLog, useTestStore } from "../store/testing.ts";
import { makeWorld, newId } from "../store/testing-world.ts";
import { withContext } from "../store/tx.ts";
import { prunePass } from "./prune.ts";

const store = useTestStore();
const asSuperuser = <Row>(sql: string) =>
  withClient(
    store().connection("postgres"),
    "test",
    async (client) => (await client.query(sql)).rows as Row[],
  );

it("forgets request ids after a day and not before", async () => {
  const { database } = store();
  const world = await makeWorld(database);
  const request = (requestId: string) => ({
    tenantId: world.tenants.acme,
    caller: "member/a",
    requestId,
    method: "m",
    hash: randomBytes(32),
  });
  const [old, young] = [request(newId()), request(newId())];
  await withContext(database, world.context, async (tx) => {
    await idempotency.remember(tx, old, Buffer.from("a"));
    await idempotency.remember(tx, young, Buffer.from("b"));
  });
  await asSuperuser(
    `update idempotency set created_at = now() - interval '25 hours' where request_id = '${old.requestId}'`,
  );
  await prunePass({ database, clock: systemClock, log: silentLog });
  const recall = (of: typeof old) =>
    withContext(database, world.context, (tx) => idempotency.recall(tx, of));
  expect(await recall(old)).toBeUndefined();
  expect(Buffer.from((await recall(young)) ?? []).toString()).toBe("b");
});

it("makes the ledger's months around the clock's time, behind the wall as the others", async () => {
  const clock = { ...systemClock, now: () => Date.UTC(2031, 11, 15) };
  await prunePass({ database: store().database, clock, log: silentLog });
  const made = await asSuperuser<{ name: string; forced: boolean }>(
    `select relname as name, relforcerowsecurity as forced from pg_class
      where relname ~ '^usage_record_203[12]..$' order by 1`,
  );
  expect(made.map(({ name }) => name)).toEqual(
    ["203110", "203111", "203112", "203201", "203202"].map((month) => `usage_record_${month}`),
  );
  expect(made.every(({ forced }) => forced)).toBe(true);
});
