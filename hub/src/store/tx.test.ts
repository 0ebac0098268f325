/** Transactions on a real PostgreSQL: what is retried, what is refused, what callers learn of errors. */
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { systemClock } from "@holdfast/shared/clock.ts";
import { beforeAll, describe, expect, it } from "vitest";
import * as assignments from "./assignments.ts";
import { taskContext } from "./context.ts";
import {
  type DatabaseWork,
  openDatabase,
  POOL_WAITERS_MAX,
  renewContextKey,
  withClient,
} from "./database.ts";
import * as idempotency from "./idempotency.ts";
import * as joinTokens from "./join-tokens.ts";
import * as sessions from "./sessions.ts";
import { silentLog, useTestStore } from "./testing.ts";
import { makeWorld, newId, type World } from "./testing-world.ts";
import { readWithContext, type Tx, withContext } from "./tx.ts";

const store = useTestStore();
let world: World;
beforeAll(async () => {
  world = await makeWorld(store().database);
});

const run = <T>(work: (tx: Tx) => Promise<T>, options = {}) =>
  withContext(store().database, world.context, work, options);
const rename = (tx: Tx, id: string, name: string) =>
  tx.query("update tenant set display_name = $2 where id = $1", [id, name]);
const nameOf = async (id: string) => {
  const rows = await run((tx) =>
    tx.query<{ name: string }>("select display_name as name from tenant where id = $1", [id]),
  );
  return rows[0]?.name;
};

describe("a transaction", () => {
  it("is told to the watch with its kind, its outcome and its time", async () => {
    const { database } = store();
    const told: DatabaseWork[] = [];
    database.watch = (ended) => void told.push(ended);
    await run(() => Promise.resolve());
    await readWithContext(database, world.context, () => Promise.resolve());
    await run((tx) => tx.query("select 1 / 0")).catch(() => undefined);
    database.watch = () => undefined;
    await run(() => Promise.resolve());
    expect(told.map(({ kind, isOk }) => [kind, isOk])).toEqual([
      ["write", true],
      ["read", true],
      ["write", false],
    ]);
    expect(told.every(({ ms }) => ms > 0 && ms < 60_000)).toBe(true);
  });

  it("is undone as a whole when its work throws", async () => {
    const attempt = run(async (tx) => {
      await rename(tx, world.tenants.acme, "half");
      throw new RangeError("on purpose");
    });
    await expect(attempt).rejects.toMatchObject({ code: "INTERNAL" });
    expect(await nameOf(world.tenants.acme)).toBe("");
  });

  it("is refused to a storm of 1000, with limit, use and when to come back", async () => {
    const storm = Array.from({ length: 1_000 }, () => run((tx) => tx.query("select 1")));
    const ends = await Promise.allSettled(storm);
    const refused = ends.filter((end) => end.status === "rejected");
    expect(ends.length - refused.length).toBeGreaterThanOrEqual(POOL_WAITERS_MAX);
    expect(refused.length).toBeGreaterThanOrEqual(400);
    for (const { reason } of refused) {
      expect(reason).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "DATABASE_BUSY",
        retryAfterMs: 1_000,
        metadata: { limit: "512", used: "512", reset_ms: "1000" },
      });
    }
    expect(await run((tx) => tx.query("select 1 as one"))).toEqual([{ one: 1 }]);
  });

  it("runs again after a deadlock, a bounded number of times", async () => {
    let runs = 0;
    let held = 0;
    const bothHold = Promise.withResolvers<void>();
    const { acme, globex } = world.tenants;
    const swap = (first: string, second: string) =>
      run(async (tx) => {
        runs++;
        await rename(tx, first, `${runs}`);
        if (++held === 2) bothHold.resolve();
        await bothHold.promise;
        await rename(tx, second, `${runs}`);
      });
    await Promise.all([swap(acme, globex), swap(globex, acme)]);
    expect(runs).toBeGreaterThan(2);
    expect(runs).toBeLessThan(7);
  });

  it("that swallowed the error of a statement is not said to be committed", async () => {
    const attempt = run(async (tx) => {
      await rename(tx, world.tenants.acme, "lost");
      await tx.query("select 1 / 0").catch(() => undefined);
    });
    await expect(attempt).rejects.toMatchObject({ reason: "TX_ABORTED" });
    expect(await nameOf(world.tenants.acme)).not.toBe("lost");
  });

  it("rings after its commit and not after a rollback", async () => {
    const rung: string[] = [];
    await run(async (tx) => tx.afterCommit(() => rung.push("committed")));
    await run(async (tx) => {
      tx.afterCommit(() => rung.push("rolled back"));
      throw new RangeError("on purpose");
    }).catch(() => undefined);
    expect(rung).toEqual(["committed"]);
  });

  it("that only reads sees one moment and cannot write", async () => {
    const attempt = readWithContext(store().database, world.context, (tx) =>
      rename(tx, world.tenants.acme, "x"),
    );
    await expect(attempt).rejects.toMatchObject({ reason: "READ_ONLY" });
  });

  it("ends a statement that takes too long", async () => {
    const attempt = run((tx) => tx.query("select pg_sleep(10)"), { statementMsMax: 100 });
    await expect(attempt).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      reason: "STATEMENT_TIMEOUT",
    });
  });

  it("renews a key that has run out, once for all who need it", async () => {
    const { database } = store();
    const old = database.contextKey;
    database.contextKey = { ...old, expiresAt: 0 };
    const counts = await Promise.all(
      Array.from({ length: 8 }, () => run((tx) => tx.query("select id from tenant"))),
    );
    expect(counts.map((rows) => rows.length)).toEqual(counts.map(() => 2));
    expect(database.contextKey.id).not.toBe(old.id);
  });

  it("goes on with a renewed key, while one that began with the old key still ends well", async () => {
    await run(async (tx) => {
      await renewContextKey(store().database);
      expect(await tx.query("select id from tenant")).toHaveLength(2);
    });
    expect(await run((tx) => tx.query("select id from tenant"))).toHaveLength(2);
  });
});

describe("an error", () => {
  it("of a taken name says ALREADY_EXISTS and neither the name nor the index", async () => {
    const attempt = run((tx) =>
      tx.query("insert into tenant (tenant_id, id, name) values ($1, $1, 'acme')", [newId()]),
    );
    await expect(attempt).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      message: "an object with this name or id already exists",
    });
  });

  it("of a reference to another vendor's object says no more than of a missing one", async () => {
    const other = await makeWorld(store().database);
    const attempt = (productId: string) =>
      run((tx) =>
        tx.query("insert into plan (id, name, product_id) values ($1, 'p', $2)", [
          newId(),
          productId,
        ]),
      ).catch((error: Error & { reason: string }) => `${error.reason} ${error.message}`);
    const foreign = await attempt(other.productId);
    expect(foreign).toMatch(/^REFERENCE_REFUSED/);
    expect(await attempt(newId())).toBe(foreign);
  });

  it("of a connection that dies says UNAVAILABLE, is not retried, and the next one works", async () => {
    let runs = 0;
    const attempt = run(async (tx) => {
      runs++;
      const [row] = await tx.query<{ pid: number }>("select pg_backend_pid() as pid");
      await withClient(store().connection("postgres"), "killer", (client) =>
        client.query("select pg_terminate_backend($1)", [row?.pid]),
      );
      await tx.query("select 1");
    });
    await expect(attempt).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "DATABASE_UNAVAILABLE",
    });
    expect(runs).toBe(1);
    expect(await run((tx) => tx.query("select id from tenant"))).toHaveLength(2);
  });

  it("of a database that is not there says UNAVAILABLE", async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const at = { url: `postgres://holdfast_app@127.0.0.1:${port}/x` };
    const deps = { clock: systemClock, random: Math.random, log: silentLog };
    await expect(openDatabase({ app: at, key: at, ...deps })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
    server.close();
    await expect(openDatabase({ app: at, key: at, ...deps })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });
});

describe("one-time things", () => {
  it("lets one of 50 redeem a join token", async () => {
    const token = { id: newId(), secretHash: randomBytes(32) };
    const { cellId } = world;
    await run((tx) =>
      joinTokens.insert(tx, {
        ...token,
        tenantId: "00000000-0000-0000-0000-000000000000",
        cellId,
        takesOver: 0n,
        createdBy: "member/test",
        expiresAt: new Date(Date.now() + 60_000),
      }),
    );
    const all = await Promise.all(
      Array.from({ length: 50 }, () =>
        run((tx) => joinTokens.redeem(tx, { ...token, agentId: newId() })),
      ),
    );
    expect(all.filter((row) => row !== undefined)).toHaveLength(1);
  });

  it("answers a repeated request id, and refuses it with another content", async () => {
    const request = {
      tenantId: world.tenants.acme,
      caller: "member/a",
      requestId: newId(),
      method: "CreateTenant",
      hash: randomBytes(32),
    };
    let done = 0;
    const call = (hash = request.hash) =>
      run(async (tx) => {
        const before = await idempotency.recall(tx, { ...request, hash });
        if (before !== undefined) return Buffer.from(before).toString();
        await idempotency.remember(tx, request, Buffer.from(`answer ${++done}`));
        return `answer ${done}`;
      });
    const answers = await Promise.all(Array.from({ length: 10 }, () => call()));
    expect(new Set(answers)).toEqual(new Set(["answer 1"]));
    await expect(call(randomBytes(32))).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
  });

  const speaker = (session: bigint) => ({
    ...{ agentId: world.agentId, cellId: world.cellId },
    ...{ fencing: 1n, session },
  });

  it("gives each session of an agent a higher number, and refuses what an older one writes", async () => {
    const opened = await Promise.all(
      Array.from({ length: 10 }, () => run((tx) => sessions.open(tx, [world.agentId], "hub-a"))),
    );
    const numbers = opened.map(([row]) => Number(row?.session)).toSorted((a, b) => a - b);
    expect(numbers).toEqual(numbers.map((_, at) => (numbers[0] ?? 0) + at));
    const newest = BigInt(numbers.at(-1) ?? 0);
    await run((tx) => sessions.guard(tx, speaker(newest)));
    const old = run((tx) => sessions.guard(tx, speaker(newest - 1n)));
    await expect(old).rejects.toMatchObject({ reason: "SESSION_OLD" });
    expect(await run((tx) => sessions.closeAll(tx, [speaker(newest - 1n)]))).toEqual([]);
    expect(await run((tx) => sessions.closeAll(tx, [speaker(newest)]))).toEqual([world.agentId]);
  });

  it("never stores an older assignment over a newer one", async () => {
    const put = (number: bigint, digest: string) =>
      run((tx) =>
        assignments.replace(tx, {
          instanceId: world.instanceId,
          generation: { incarnation: 1n, number },
          digest: `sha256:${digest.repeat(64)}`,
          releaseDigest: `sha256:${"0".repeat(64)}`,
          offer: Buffer.from(digest),
          tombstone: false,
        }),
      );
    await put(2n, "a");
    await expect(put(1n, "b")).rejects.toMatchObject({ reason: "GENERATION_OLD" });
    await expect(put(2n, "b")).rejects.toMatchObject({ reason: "GENERATION_OLD" });
    await put(2n, "a");
    const [next] = await Promise.all([
      run((tx) => assignments.nextGeneration(tx, world.instanceId, 3n)),
    ]);
    expect(next).toEqual({ incarnation: 3n, number: 1n });
  });

  it("hands a context of another vendor nothing of this one", async () => {
    const foreign = taskContext(newId(), "test");
    const rows = await withContext(store().database, foreign, (tx) =>
      tx.query("select id from tenant"),
    );
    expect(rows).toEqual([]);
  });
});
