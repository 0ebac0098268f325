/** What every destination keeps, asked of a SQLite file and of a PostgreSQL alike. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type Batch,
  type CopiedRow,
  type Destination,
  NO_PROGRESS,
  progressAfter,
} from "./model.ts";
import { openPostgresDestination } from "./postgres-destination.ts";
import { openSqliteDestination } from "./sqlite-destination.ts";
import { until } from "./testing/fleet.ts";
import { TestPostgres } from "./testing/postgres.ts";

const LEASE_MS = 400;
const seat = { id: "sea_a", name: "acme", reserved: false };
const row = (sourceId: number): CopiedRow => ({
  sourceId,
  account: "acme",
  amountCents: -5,
  currency: "EUR",
  note: "水 'quoted'",
  createdAt: "2026-01-01T00:00:00.000Z",
  amountEurCents: sourceId % 2 === 0 ? null : -5,
  release: "1.1.0",
});
const first: Batch = { seat, from: NO_PROGRESS, rows: [row(3), row(4)] };
const second: Batch = { seat, from: progressAfter(first), rows: [row(9)] };

let postgres: TestPostgres;
let directory: string;
let databases = 0;
beforeAll(async () => {
  postgres = await TestPostgres.start();
  directory = mkdtempSync(join(tmpdir(), "etl-destination-"));
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

let ids = 0;
const deps = { leaseMs: LEASE_MS, now: Date.now, newId: () => `etl-${++ids}` };
const KINDS = {
  sqlite: async () => {
    const path = join(directory, `${++databases}.db`);
    return async () => openSqliteDestination(path, deps);
  },
  postgresql: async () => {
    const dsn = await postgres.createDatabase(`d${++databases}`);
    return () => openPostgresDestination(dsn, deps);
  },
};

describe.each(["sqlite", "postgresql"] as const)("%s destination", (kind) => {
  let ours: Destination;
  let theirs: Destination;
  beforeEach(async () => {
    const open = await KINDS[kind]();
    [ours, theirs] = [await open(), await open()];
  });
  afterEach(async () => {
    await ours.close();
    await theirs.close();
  });
  const leaseOf = async (destination: Destination, holder: string) => {
    const lease = await destination.acquire(holder);
    expect(lease).toBeDefined();
    return lease ?? { holder, fencing: -1 };
  };

  it("keeps the id that it was created with", () => {
    expect(theirs.id).toBe(ours.id);
    expect(ours.id).toMatch(/^etl-\d+$/);
  });

  it("writes rows, checkpoint and count together", async () => {
    const lease = await leaseOf(ours, "us");
    expect(await ours.write(lease, first)).toBe("written");
    expect(await ours.write(lease, second)).toBe("written");
    expect(await theirs.progress()).toEqual(new Map([["sea_a", { lastId: 9, rowCount: 3 }]]));
  });

  it("refuses a batch that does not start at the checkpoint, and writes nothing of it", async () => {
    const lease = await leaseOf(ours, "us");
    expect(await ours.write(lease, second)).toBe("moved");
    expect((await ours.progress()).size).toBe(0);
    await ours.write(lease, first);
    expect(await ours.write(lease, first)).toBe("moved");
    expect((await ours.progress()).get("sea_a")).toEqual({ lastId: 4, rowCount: 2 });
  });

  it("leaves nothing behind of a batch that fails in the middle", async () => {
    const lease = await leaseOf(ours, "us");
    await ours.write(lease, first);
    const twice: Batch = { ...second, rows: [row(8), row(4)] };
    await expect(ours.write(lease, twice)).rejects.toThrow();
    expect((await ours.progress()).get("sea_a")).toEqual({ lastId: 4, rowCount: 2 });
    expect(await ours.write(lease, { ...second, rows: [row(8)] })).toBe("written");
  });

  it("gives the lease to one holder at a time, and at once after a release", async () => {
    const lease = await leaseOf(ours, "us");
    expect(await theirs.acquire("them")).toBeUndefined();
    await ours.release(lease);
    expect(await theirs.acquire("them")).toEqual({ holder: "them", fencing: lease.fencing + 1 });
  });

  it("gives the lease to exactly one of two that ask at the same moment", async () => {
    const answers = await Promise.all([ours.acquire("us"), theirs.acquire("them")]);
    expect(answers.filter((lease) => lease !== undefined)).toHaveLength(1);
  });

  it("gives an expired lease away, and refuses whatever its former holder wants to do", async () => {
    const stale = await leaseOf(ours, "us");
    await until("the lease expires", async () => (await theirs.acquire("them")) !== undefined);
    expect(await ours.write(stale, first)).toBe("lease_lost");
    expect(await ours.renew(stale)).toBe(false);
    await ours.release(stale);
    expect(await ours.acquire("us")).toBeUndefined();
    expect((await ours.progress()).size).toBe(0);
  });

  it("keeps a lease that is renewed for longer than it lasts", async () => {
    const lease = await leaseOf(ours, "us");
    const endsAt = performance.now() + 2 * LEASE_MS;
    await until("twice its time has passed", async () => {
      expect(await ours.renew(lease)).toBe(true);
      expect(await theirs.acquire("them")).toBeUndefined();
      return performance.now() > endsAt;
    });
  });
});

describe("sqlite destination", () => {
  it("gives away a lease whose expiry lies further ahead than any lease lasts", async () => {
    const path = join(directory, `${++databases}.db`);
    const tomorrow = { ...deps, now: () => Date.now() + 86_400_000 };
    const ahead = openSqliteDestination(path, tomorrow);
    const now = openSqliteDestination(path, deps);
    expect(await ahead.acquire("us")).toBeDefined();
    expect(await now.acquire("them")).toMatchObject({ fencing: 2 });
    await Promise.all([ahead.close(), now.close()]);
  });
});
