/** Test support: a small vendor with everything that usage and events need. */
import { randomBytes } from "node:crypto";
import { NIL_UUID, uuidV7 } from "@holdfast/shared/ids.ts";
import { type Context, taskContext } from "./context.ts";
import type { Database } from "./database.ts";
import * as seats from "./seats.ts";
import { type Tx, withContext } from "./tx.ts";
import * as vendors from "./vendors.ts";

export const newId = (): string => uuidV7(Date.now(), randomBytes(10));

export type World = Readonly<{
  vendorId: string;
  context: Context;
  tenants: Readonly<{ acme: string; globex: string }>;
  productId: string;
  planId: string;
  releaseId: string;
  /** Hosted. */
  cellId: string;
  agentId: string;
  /** Pooled, with seats of both tenants and the reserved one. */
  instanceId: string;
  seats: Readonly<{ acme: string; globex: string; reserved: string }>;
}>;

export const DIGEST = `sha256:${"0".repeat(64)}`;

/** A vendor of its own, so that tests of one file do not see each other. */
export async function makeWorld(database: Database): Promise<World> {
  const vendorId = newId();
  const ids = {
    productId: newId(),
    planId: newId(),
    releaseId: newId(),
    cellId: newId(),
    agentId: newId(),
    instanceId: newId(),
  };
  const tenants = { acme: newId(), globex: newId() };
  const seatIds = { acme: newId(), globex: newId(), reserved: newId() };
  const context = taskContext(vendorId, "test");
  const world: World = { vendorId, context, tenants, seats: seatIds, ...ids };
  await withContext(database, context, async (tx) => {
    await vendors.insert(tx, { id: vendorId, name: "vendor", displayName: "" });
    for (const [name, id] of Object.entries(tenants)) {
      await tx.query("insert into tenant (tenant_id, id, name) values ($1, $1, $2)", [id, name]);
    }
    await insertCatalogue(tx, world);
    await insertFleet(tx, world);
  });
  return world;
}

async function insertCatalogue(tx: Tx, world: World): Promise<void> {
  const { productId, planId, releaseId } = world;
  await tx.query("insert into product (id, name) values ($1, 'etl')", [productId]);
  await tx.query("insert into plan (id, name, product_id) values ($1, 'free', $2)", [
    planId,
    productId,
  ]);
  await tx.query(
    `insert into plan_version (plan_id, version, tenancy_model, seats_max, spec) values ($1, 1, 1, 100, '{}')`,
    [planId],
  );
  await tx.query(
    `insert into release (id, name, product_id, version, number, digest, key_ids, envelope)
     values ($1, 'etl-1.0.0', $2, '1.0.0', 1, $3, '{k}', 'x')`,
    [releaseId, productId, DIGEST],
  );
  await tx.query(
    `insert into meter (product_id, name, release_number, unit, kind, gap, max_rate_per_second)
     values ($1, 'rows', 1, 'rows', 1, 1, 1000), ($1, 'peak', 1, 'mib', 2, 1, 1000),
            ($1, 'jobs', 1, 'jobs', 3, 1, 1000)`,
    [productId],
  );
}

async function insertFleet(tx: Tx, world: World): Promise<void> {
  const { cellId, agentId, instanceId, tenants } = world;
  await tx.query(
    "insert into cell (tenant_id, id, name, kind, fencing) values ($1, $2, 'hosted-1', 2, 1)",
    [NIL_UUID, cellId],
  );
  await tx.query(
    `insert into agent (tenant_id, id, cell_id, name, fencing, identity_key)
     values ($1, $2, $3, 'hosted-1-1', 1, $4)`,
    [NIL_UUID, agentId, cellId, randomBytes(32)],
  );
  await tx.query(
    `insert into instance (tenant_id, id, name, cell_id, cell_tenant_id, product_id, release_id, plan_id, plan_version)
     values ($1, $2, 'pool-1', $3, $1, $4, $5, $6, 1)`,
    [NIL_UUID, instanceId, cellId, world.productId, world.releaseId, world.planId],
  );
  const seat = { cellId, instanceId, instanceTenantId: NIL_UUID, subscriptionId: null };
  const all = [
    { name: "acme", tenantId: tenants.acme, id: world.seats.acme, reserved: false },
    { name: "globex", tenantId: tenants.globex, id: world.seats.globex, reserved: false },
    { name: "vendor", tenantId: NIL_UUID, id: world.seats.reserved, reserved: true },
  ];
  for (const each of all) await seats.insert(tx, { ...seat, ...each });
}
