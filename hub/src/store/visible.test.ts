/** What a tenant learns of the vendor's facts: names that its own rows refer to, and how its seat does. */
import { randomBytes } from "node:crypto";
import { NIL_UUID } from "@holdfast/shared/ids.ts";
import { beforeEach, describe, expect, it } from "vitest";
import * as assignments from "./assignments.ts";
import { agentContext, tenantContext } from "./context.ts";
import * as instances from "./instances.ts";
import * as releases from "./releases.ts";
import * as seats from "./seats.ts";
import * as sessions from "./sessions.ts";
import * as statuses from "./statuses.ts";
import { useTestStore } from "./testing.ts";
import { DIGEST, makeWorld, newId, type World } from "./testing-world.ts";
import { readWithContext, type Tx, withContext } from "./tx.ts";
import * as visible from "./visible.ts";

const store = useTestStore();
let world: World;
beforeEach(async () => {
  world = await makeWorld(store().database);
});

const actor = { principal: "member/a", permission: "seat.get" };
const asTenant = <T>(tenantId: string, work: (tx: Tx) => Promise<T>) =>
  readWithContext(store().database, tenantContext(world.vendorId, tenantId, actor), work);
const asStaff = <T>(work: (tx: Tx) => Promise<T>) =>
  withContext(store().database, world.context, work);
const asAgent = <T>(work: (tx: Tx) => Promise<T>) =>
  withContext(store().database, agentContext(world.vendorId, world.cellId, world.agentId), work);

async function openSession(): Promise<bigint> {
  const [row] = await asAgent((tx) => sessions.open(tx, [world.agentId], "hub"));
  return row?.session ?? 0n;
}

const keep = async (tx: Tx, row: statuses.NewStatus) =>
  (await statuses.replaceAll(tx, [row])).has(row.instanceId);

const report = (session: bigint, committedRelease = "1.0.0") => ({
  tenantId: NIL_UUID,
  cellId: world.cellId,
  instanceId: world.instanceId,
  report: Buffer.from("report"),
  observed: { incarnation: 1n, number: 1n },
  committed: { incarnation: 1n, number: 1n },
  committedRelease,
  conditions: [
    {
      type: "Ready",
      status: "True",
      reason: "READY",
      message: "",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    },
  ],
  outputs: { url: "http://127.0.0.1:1" },
  removed: false,
  agentId: world.agentId,
  session,
  reportedAt: new Date(),
});

const subscribe = (tenantId: string, planId = world.planId) =>
  asStaff((tx) =>
    tx.query(
      `insert into subscription (tenant_id, id, name, plan_id, plan_version, starts_at)
       values ($1, $2, 'sub', $3, 1, now())`,
      [tenantId, newId(), planId],
    ),
  );

describe("a tenant", () => {
  it("knows the plan and the product it subscribes to, and no other", async () => {
    const { acme, globex } = world.tenants;
    await subscribe(acme);
    const plans = (tenantId: string) =>
      asTenant(tenantId, (tx) => visible.names(tx, "plan", [world.planId]));
    expect(await plans(acme)).toEqual(new Map([[world.planId, "free"]]));
    expect(await plans(globex)).toEqual(new Map());
    expect(await asTenant(acme, (tx) => visible.names(tx, "product", [world.productId]))).toEqual(
      new Map([[world.productId, "etl"]]),
    );
  });

  it("knows the name of a hosted cell once an instance of its own is there, and never the account", async () => {
    const { acme } = world.tenants;
    const cells = () => asTenant(acme, (tx) => visible.names(tx, "cell", [world.cellId]));
    expect(await cells()).toEqual(new Map());
    await asStaff((tx) =>
      tx.query(
        `insert into instance (tenant_id, id, name, cell_id, cell_tenant_id, product_id, release_id, plan_id, plan_version)
         values ($1, $2, 'own', $3, $4, $5, $6, $7, 1)`,
        [acme, newId(), world.cellId, NIL_UUID, world.productId, world.releaseId, world.planId],
      ),
    );
    expect(await cells()).toEqual(new Map([[world.cellId, "hosted-1"]]));
    const account = asTenant(acme, (tx) => tx.query("select account from visible_cell"));
    await expect(account).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("sees how its seat's pooled instance does, and not the instance nor another's seat", async () => {
    const { acme } = world.tenants;
    const session = await openSession();
    expect(await asAgent((tx) => keep(tx, report(session)))).toBe(true);
    const [view, ...others] = await asTenant(acme, (tx) =>
      seats.views(tx, Object.values(world.seats)),
    );
    expect(others).toEqual([]);
    expect(view).toMatchObject({
      seatId: world.seats.acme,
      committedRelease: "1.0.0",
      connected: true,
      conditions: [{ type: "Ready", status: "True" }],
      outputs: { url: "http://127.0.0.1:1" },
    });
    expect(await asTenant(acme, (tx) => instances.get(tx, world.instanceId))).toBeUndefined();
    expect(await asTenant(acme, (tx) => statuses.get(tx, world.instanceId))).toBeUndefined();
    await asAgent((tx) => sessions.closeAll(tx, [{ agentId: world.agentId, session }]));
    const [after] = await asTenant(acme, (tx) => seats.views(tx, [world.seats.acme]));
    expect(after?.connected).toBe(false);
  });

  it("knows the units of what its seats measure", async () => {
    const meters = await asTenant(world.tenants.acme, visible.meters);
    expect(meters.map(({ name, unit }) => `${name} ${unit}`).toSorted()).toEqual([
      "jobs jobs",
      "peak mib",
      "rows rows",
    ]);
  });
});

describe("an agent", () => {
  it("reports on instances of its cell only, and an older session changes nothing", async () => {
    const [first, second] = [await openSession(), await openSession()];
    expect(await asAgent((tx) => keep(tx, report(second, "1.1.0")))).toBe(true);
    expect(await asAgent((tx) => keep(tx, report(first, "1.0.0")))).toBe(false);
    const foreign = agentContext(world.vendorId, newId(), world.agentId);
    const elsewhere = withContext(store().database, foreign, (tx) =>
      keep(tx, report(second, "6.6.6")),
    );
    await expect(elsewhere).rejects.toMatchObject({ reason: "WALL" });
    const status = await asStaff((tx) => statuses.get(tx, world.instanceId));
    expect(status).toMatchObject({ committedRelease: "1.1.0", revision: 1n });
  });

  it("fetches only releases that an assignment of its cell names", async () => {
    const fetch = () => asAgent((tx) => releases.envelopeForCell(tx, world.cellId, DIGEST));
    expect(await fetch()).toBeUndefined();
    await asStaff((tx) =>
      assignments.replace(tx, {
        instanceId: world.instanceId,
        generation: { incarnation: 1n, number: 1n },
        digest: `sha256:${randomBytes(32).toString("hex")}`,
        releaseDigest: DIGEST,
        offer: Buffer.from("offer"),
        tombstone: false,
      }),
    );
    expect(Buffer.from((await fetch()) ?? []).toString()).toBe("x");
    const heads = await asAgent((tx) => assignments.heads(tx, [world.cellId]));
    expect(heads).toMatchObject([{ instanceId: world.instanceId, incarnation: 1n, number: 1n }]);
    const [offer] = await asAgent((tx) => assignments.offers(tx, [world.instanceId]));
    expect(Buffer.from(offer?.offer ?? []).toString()).toBe("offer");
  });
});

describe("an instance that is retired", () => {
  it("is seen no more, frees its name and seats, and leaves late usage its seats", async () => {
    await asStaff((tx) => instances.retire(tx, world.instanceId, 30));
    expect(await asStaff((tx) => instances.get(tx, world.instanceId))).toBeUndefined();
    expect(await asStaff((tx) => seats.listOfInstance(tx, world.instanceId))).toEqual([]);
    const kept = await asStaff((tx) =>
      tx.query("select from seat where instance_id = $1", [world.instanceId]),
    );
    expect(kept).toHaveLength(3);
    const again = asStaff((tx) =>
      tx.query(
        `insert into instance (tenant_id, id, name, cell_id, cell_tenant_id, product_id, release_id, plan_id, plan_version)
         values ($1, $2, 'pool-1', $3, $1, $4, $5, $6, 1)`,
        [NIL_UUID, newId(), world.cellId, world.productId, world.releaseId, world.planId],
      ),
    );
    await expect(again).resolves.toEqual([]);
  });
});
