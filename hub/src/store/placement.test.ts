/** What placement reads: the active agent only, the database's own counts, and by index alone in a large fleet. */
import { randomBytes } from "node:crypto";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import type pg from "pg";
import { beforeAll, describe, expect, it } from "vitest";
import type { Context } from "./context.ts";
import { withClient } from "./database.ts";
import * as placement from "./placement.ts";
import { useTestStore } from "./testing.ts";
import { makeWorld, newId, type World } from "./testing-world.ts";
import { readWithContext, type Tx, withContext } from "./tx.ts";

const CELLS = 2_000;
const INSTANCES_IN_EACH = 10;
const HOSTED = { owners: [NIL_UUID] };

const store = useTestStore();
let world: World;
beforeAll(async () => {
  world = await makeWorld(store().database);
});

const change = <T>(work: (tx: Tx) => Promise<T>, context: Context = world.context) =>
  withContext(store().database, context, work);

describe("a cell's agent", () => {
  const facts = async () => (await change((tx) => placement.cells(tx, HOSTED)))[0];
  const said = (name: string, available: boolean) => ({ name, available, reason: "" });
  const hello = (agentId: string, capabilities: readonly object[]) =>
    change((tx) =>
      tx.query("update agent set capabilities = $2 where id = $1", [
        agentId,
        JSON.stringify(capabilities),
      ]),
    );
  const session = (agentId: string, closedAt: Date | null = null) =>
    change((tx) =>
      tx.query(
        `insert into agent_session (tenant_id, cell_id, agent_id, session, replica, closed_at)
         values ($1, $2, $3, 1, 'r', $4)
             on conflict (vendor_id, tenant_id, agent_id) do update set closed_at = $4`,
        [NIL_UUID, world.cellId, agentId, closedAt],
      ),
    );

  it("counts from its first hello on, and is away from when its session ended", async () => {
    expect(await facts()).toMatchObject({ agent: undefined });
    await hello(world.agentId, [said("driver/process", true), said("driver/helm", false)]);
    await session(world.agentId);
    expect((await facts())?.agent).toEqual({ awaySinceMs: undefined, drivers: ["process"] });
    await session(world.agentId, new Date(1_000));
    expect((await facts())?.agent).toEqual({ awaySinceMs: 1_000, drivers: ["process"] });
  });

  it("is the one that took over: a fenced one's abilities count no more", async () => {
    const taker = newId();
    await change(async (tx) => {
      await tx.query("update cell set fencing = 2 where id = $1", [world.cellId]);
      await tx.query(
        `insert into agent (tenant_id, id, cell_id, name, fencing, identity_key)
         values ($1, $2, $3, 'hosted-1-2', 2, $4)`,
        [NIL_UUID, taker, world.cellId, randomBytes(32)],
      );
    });
    expect((await facts())?.agent).toBeUndefined();
    await hello(taker, [said("driver/container", true)]);
    await session(taker);
    expect((await facts())?.agent?.drivers).toEqual(["container"]);
  });
});

describe("a cell's load", () => {
  const insert = (tx: Tx, name: string, asks: object) =>
    tx.query(
      `insert into instance (tenant_id, id, name, cell_id, cell_tenant_id, product_id, release_id, plan_id,
                             plan_version, asks)
       values ($1, $2, $3, $4, $1, $5, $6, $7, 1, $8)`,
      [NIL_UUID, newId(), name, world.cellId, world.productId, world.releaseId, world.planId, asks],
    );
  const load = async () => (await change((tx) => placement.roomOf(tx, world.cellId)))?.load;

  it("follows what its instances ask for, until they are gone", async () => {
    const before = (await load())?.instances ?? 0;
    await change((tx) => insert(tx, "asking", { cpu: 3 }));
    expect(await load()).toEqual({ instances: before + 1, resources: { cpu: 3 } });
    const set = (sql: string) =>
      change((tx) => tx.query(`update instance set ${sql} where name = 'asking'`));
    await set(`asks = '{"cpu": 1, "disk": 2}'`);
    expect(await load()).toEqual({ instances: before + 1, resources: { cpu: 1, disk: 2 } });
    await set("deleted_at = now()");
    expect((await load())?.instances).toBe(before + 1);
    await set("gone_at = now()");
    expect(await load()).toEqual({ instances: before, resources: { cpu: 0, disk: 0 } });
  });

  it("is written by nobody else, and no instance moves", async () => {
    const forged = change((tx) => tx.query("update cell_load set instances = 0"));
    await expect(forged).rejects.toMatchObject({ reason: "WALL" });
    const moved = change((tx) => tx.query("update instance set cell_id = $1", [newId()]));
    await expect(moved).rejects.toMatchObject({ reason: "VALUE_REFUSED" });
  });

  it("counts seats without the reserved one", async () => {
    const [pool] = await change((tx) => placement.pools(tx, world.planId));
    expect(pool).toMatchObject({ name: "pool-1", seats: 2, seatsMax: 100 });
  });
});

describe("in a large fleet", () => {
  let large: World;
  beforeAll(async () => {
    large = await makeWorld(store().database);
    await withClient(store().connection("postgres"), "fill", (client) => fill(client, large));
  });

  /** Runs what it explains, and keeps the plans. */
  async function plansOf(read: (tx: Tx) => Promise<unknown>): Promise<string> {
    const plans: string[] = [];
    await readWithContext(store().database, large.context, (tx) =>
      read({
        ...tx,
        async query<Row>(sql: string, params?: readonly unknown[]) {
          const rows = await tx.query<{ "QUERY PLAN": string }>(`explain ${sql}`, params);
          plans.push(...rows.map((row) => row["QUERY PLAN"]));
          return tx.query<Row>(sql, params);
        },
      }),
    );
    return plans.join("\n");
  }

  it("reads cells by index, one row for each, and no instance at all", async () => {
    const sought = { ...HOSTED, labelKeys: ["tier"], drivers: ["process"] };
    const plans = await plansOf(async (tx) => {
      const cells = await placement.cells(tx, sought);
      expect(cells).toHaveLength(CELLS + 1);
      expect(cells.at(-1)).toMatchObject({
        labels: { tier: "gold" },
        agent: { drivers: ["process"] },
        load: { instances: INSTANCES_IN_EACH },
      });
    });
    expect(plans).toContain("cell_load_pkey");
    expect(plans).not.toMatch(/Seq Scan|Join Filter| on instance/);
  });

  it("reads a plan's pooled instances and counts by index", async () => {
    const plans = await plansOf(async (tx) => {
      expect(await placement.pools(tx, large.planId)).toHaveLength(1);
      expect(await placement.countOfPlan(tx, large.planId)).toBe(1);
      await placement.newestPool(tx, large.planId);
    });
    expect(plans).toContain("instance_plan");
    expect(plans).not.toContain("Seq Scan on instance");
  });
});

/** Without triggers, in one statement for each table; the counts are what they would have made. */
async function fill(client: pg.Client, { vendorId, productId, releaseId }: World): Promise<void> {
  await client.query("set session_replication_role = replica");
  const of = (columns: string) =>
    `select ${columns} from cell where vendor_id = $1 and name like 'c%'`;
  await client.query(
    `insert into cell (vendor_id, tenant_id, id, name, kind, fencing)
     select $1, $2, gen_random_uuid(), 'c' || g, 2, 1 from generate_series(1, $3::int) g`,
    [vendorId, NIL_UUID, CELLS],
  );
  await client.query(
    `insert into object_label (vendor_id, tenant_id, kind, object_id, key, value)
     ${of("vendor_id, tenant_id, 'cell', id, 'tier', 'gold'")}`,
    [vendorId],
  );
  await client.query(
    `insert into agent (vendor_id, tenant_id, id, cell_id, name, fencing, identity_key, capabilities)
     ${of("vendor_id, tenant_id, gen_random_uuid(), id, name, 1, $2, $3")}`,
    [vendorId, randomBytes(32), JSON.stringify([{ name: "driver/process", available: true }])],
  );
  await client.query(
    `insert into agent_session (vendor_id, tenant_id, cell_id, agent_id, session, replica)
     select vendor_id, tenant_id, cell_id, id, 1, 'r' from agent where vendor_id = $1 and name like 'c%'`,
    [vendorId],
  );
  await client.query(
    `insert into instance (vendor_id, tenant_id, id, name, cell_id, cell_tenant_id, product_id, release_id,
                           plan_id, plan_version)
     select c.vendor_id, c.tenant_id, gen_random_uuid(), c.name || '-' || g, c.id, c.tenant_id, $2, $3,
            gen_random_uuid(), 1
       from cell c, generate_series(1, $4::int) g where c.vendor_id = $1 and c.name like 'c%'`,
    [vendorId, productId, releaseId, INSTANCES_IN_EACH],
  );
  await client.query(
    `insert into cell_load (vendor_id, tenant_id, cell_id, instances)
     ${of("vendor_id, tenant_id, id, $2")}`,
    [vendorId, INSTANCES_IN_EACH],
  );
  await client.query("set session_replication_role = origin");
  await client.query("analyze");
}
