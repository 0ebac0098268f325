/** Creating without saying where, on a real database: what is picked, what is told to whom, and 50 at once. */
import { CellKind, CellService } from "@holdfast/proto/holdfast/api/v1/cell_pb.js";
import { InstanceService } from "@holdfast/proto/holdfast/api/v1/instance_pb.js";
import { PlanService, TenancyModel } from "@holdfast/proto/holdfast/api/v1/plan_pb.js";
import { SubscriptionService } from "@holdfast/proto/holdfast/api/v1/subscription_pb.js";
import { TenantService } from "@holdfast/proto/holdfast/api/v1/tenant_pb.js";
import { uuidOf } from "@holdfast/shared/ids.ts";
import { beforeAll, describe, expect, it } from "vitest";
import { useTestHub } from "../testing-hub.ts";
import { offerProduct } from "../testing-product.ts";
import {
  type CellWish,
  counted,
  finalRefusal,
  makeCell,
  otherReplica,
  refusal,
} from "./placement.test-world.ts";

const AT_ONCE = 50;
const hub = useTestHub();
beforeAll(() => offerProduct(hub()));

const instances = (token = hub().tokens.owner) => hub().client(InstanceService, token);
const subscriptions = () => hub().client(SubscriptionService, hub().tokens.owner);
const cells = () => hub().client(CellService, hub().tokens.owner);

const cell = (name: string, wish: CellWish, drivers?: readonly string[] | null) =>
  makeCell(hub(), name, wish, drivers);

const HOSTED = { cells: { kinds: [CellKind.HOSTED] } };

async function plan(name: string, tenancyModel: TenancyModel, spec: object = {}): Promise<void> {
  const parameters = { source: "s" };
  await hub()
    .client(PlanService, hub().tokens.owner)
    .createPlan({
      plan: { metadata: { name }, spec: { product: "etl", tenancyModel, parameters, ...spec } },
    });
}

async function subscribe(tenant: string, planName: string, spec: object = {}, name = planName) {
  const subscription = { metadata: { name, tenant }, spec: { plan: planName, ...spec } };
  const answer = await subscriptions().createSubscription({ subscription });
  return answer.subscription;
}

const wanted = (name: string, planName: string, region: string, change: object = {}) => ({
  metadata: { name, tenant: "acme" },
  spec: {
    product: "etl",
    release: "1.0.0",
    plan: planName,
    subscription: planName,
    placement: { region },
    ...change,
  },
});

describe("an instance whose spec names no cell", () => {
  beforeAll(async () => {
    await cell("eu-1", { region: "eu-west", instancesMax: 4 });
    await cell("eu-2", { region: "eu-west", instancesMax: 4, labels: { tier: "gold" } });
    await plan("std", TenancyModel.DEDICATED, HOSTED);
    await subscribe("acme", "std");
  });

  it("gets the emptiest cell, says why, keeps it, and never moves", async () => {
    const { instance: first } = await instances().createInstance({
      instance: wanted("one", "std", "eu-west"),
    });
    expect(first?.spec).toMatchObject({ cell: "eu-1", placement: { region: "eu-west" } });
    expect(first?.status?.placement).toMatchObject({ cell: "eu-1", reason: "LEAST_LOADED" });
    const { instance: second } = await instances().createInstance({
      instance: wanted("two", "std", "eu-west"),
    });
    expect(second?.spec?.cell).toBe("eu-2");

    const token = hub().tokens.acmeOwner;
    const again = await instances(token).updateInstance({
      instance: wanted("one", "std", "eu-west", { release: "1.1.0" }),
    });
    expect(again.instance?.spec).toMatchObject({ cell: "eu-1", release: "1.1.0" });
    const moved = wanted("one", "std", "us");
    expect((await refusal(instances().updateInstance({ instance: moved }))).reason).toBe(
      "IMMUTABLE",
    );
    const named = wanted("one", "std", "eu-west", { cell: "eu-2" });
    expect((await refusal(instances().updateInstance({ instance: named }))).reason).toBe(
      "IMMUTABLE",
    );
  });

  it("is decided and answered, but not made, with validate_only", async () => {
    const instance = wanted("dry", "std", "eu-west", {
      placement: { region: "eu-west", labels: { tier: "gold" } },
    });
    const answer = await instances().createInstance({ instance, validateOnly: true });
    expect(answer.instance?.spec?.cell).toBe("eu-2");
    expect(answer.instance?.status?.placement).toMatchObject({ cell: "eu-2" });
    expect((await refusal(instances().getInstance({ instance: "dry" }))).code).toBe("NotFound");
  });

  it("goes to the tenant's own cell, and into none of the vendor's, unless the plan says so", async () => {
    await subscribe("acme", "pro");
    const instance = wanted("own", "pro", "", { parameters: { source: "s" } });
    const before = await refusal(instances().createInstance({ instance }));
    expect(before).toMatchObject({ code: "FailedPrecondition", reason: "PLACEMENT_IMPOSSIBLE" });
    expect(before.text).toContain("cell/acme-cell has no agent yet");
    expect(before.text).toContain("cell/eu-1: is hosted");
    expect(before.next).toBe("holdfast cell token acme-cell");
    await cell("acme-2", { region: "home", tenant: "acme" });
    const made = await instances(hub().tokens.acmeOwner).createInstance({ instance });
    expect(made.instance?.spec?.cell).toBe("acme-2");
    expect(made.instance?.status?.placement?.message).toBe("the only one that fits");
  });

  it("counts what its plan asks for against the cell's resources", async () => {
    await cell("cpu-1", { region: "cpu", resources: { cpu: 5n } });
    await plan("big", TenancyModel.DEDICATED, { ...HOSTED, asks: { cpu: 3n } });
    await subscribe("acme", "big");
    await instances().createInstance({ instance: wanted("big-1", "big", "cpu") });
    const full = await refusal(
      instances().createInstance({ instance: wanted("big-2", "big", "cpu") }),
    );
    expect(full).toMatchObject({
      code: "ResourceExhausted",
      reason: "PLACEMENT_FULL",
      metadata: { what: "cpu", limit: "5", used: "3" },
    });
    const { cell: seen } = await cells().getCell({ cell: "cpu-1" });
    expect(seen?.status?.resourcesUsed).toEqual({ cpu: 3n });
    expect(seen?.spec?.capacity?.resources).toEqual({ cpu: 5n });
  });
});

describe("a refusal", () => {
  beforeAll(async () => {
    await cell("far-full", { region: "far", instancesMax: 1 });
    await cell("far-bare", { region: "far" }, null);
    await cell("far-helm", { region: "far" }, ["helm"]);
    const instance = wanted("filler", "std", "far", { cell: "far-full", placement: undefined });
    await instances().createInstance({ instance });
  });

  it("tells the vendor of each cell why, the nearest to fitting last", async () => {
    const said = await refusal(instances().createInstance({ instance: wanted("x", "std", "far") }));
    expect(said).toMatchObject({
      code: "ResourceExhausted",
      reason: "PLACEMENT_FULL",
      metadata: { what: "instances", limit: "1", used: "1" },
      next: "holdfast describe cell far-full",
    });
    const lines = said.text.split("\n").slice(1);
    expect(lines).toContain("cell/eu-1: is in region eu-west");
    expect(lines.slice(-3)).toEqual([
      "cell/far-bare: has no agent yet",
      "cell/far-helm: has no driver for process",
      "cell/far-full: has no room: 1 of 1 instances",
    ]);
  });

  it("tells a tenant no name, number or count of the vendor's cells", async () => {
    const token = hub().tokens.acmeOwner;
    const placed = await refusal(
      instances(token).createInstance({ instance: wanted("x", "std", "far") }),
    );
    expect(placed).toMatchObject({ reason: "PLACEMENT_FULL", metadata: {} });
    expect(placed.text).toContain("hosted/far: has no room");
    expect(placed.text).toContain("cell/acme-2: is byoa");
    for (const secret of ["far-full", "far-bare", "far-helm", "eu-1", "1 of 1"]) {
      expect(placed.text).not.toContain(secret);
    }
    const named = wanted("x", "std", "far", { cell: "far-full" });
    for (const validateOnly of [true, false]) {
      const full = await refusal(
        instances(token).createInstance({ instance: named, validateOnly }),
      );
      expect(full).toMatchObject({ code: "ResourceExhausted", reason: "CELL_FULL", metadata: {} });
      expect(full.text).toBe("the cell has no room for another instance");
    }
    const { instance } = await instances(token).getInstance({ instance: "two" });
    expect(instance?.status?.placement?.message).toBe("least loaded of the vendor's that fit");
  });

  it("names limit and use of a named cell that is full to those who see it", async () => {
    const instance = wanted("x", "std", "far", { cell: "far-full" });
    expect(await refusal(instances().createInstance({ instance }))).toMatchObject({
      code: "ResourceExhausted",
      reason: "CELL_FULL",
      metadata: { what: "instances", limit: "1", used: "1" },
    });
    const elsewhere = wanted("x", "std", "eu-west", { cell: "far-helm" });
    expect((await refusal(instances().createInstance({ instance: elsewhere }))).reason).toBe(
      "PLACEMENT_UNFIT",
    );
  });

  it("leaves room behind once an instance is gone, and none by a deletion that waits", async () => {
    await cell("brief", { region: "brief", instancesMax: 1 }, null);
    const instance = wanted("brief", "std", "brief", { cell: "brief" });
    await instances().createInstance({ instance });
    expect((await counted(hub(), "brief"))[0]).toMatchObject({ instances: 1, counted: 1 });
    await instances().deleteInstance({ instance: "brief" });
    expect((await counted(hub(), "brief"))[0]).toMatchObject({ instances: 0, counted: 0 });
    await instances().deleteInstance({ instance: "filler" });
    const filler = await instances().getInstance({ instance: "filler" });
    expect(filler.instance?.metadata?.finalizers).toEqual(["workloads", "usage"]);
    expect((await counted(hub(), "far")).find(({ name }) => name === "far-full")?.counted).toBe(1);
  });
});

describe("50 creations at once", () => {
  it("fill the cells to the last place and none beyond it", async () => {
    for (const at of [1, 2, 3, 4]) await cell(`rush-${at}`, { region: "rush", instancesMax: 10 });
    const ends = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, at) =>
        finalRefusal(() =>
          instances().createInstance({ instance: wanted(`rush-${at}`, "std", "rush") }),
        ),
      ),
    );
    const tally = Object.groupBy(ends, ({ code, reason }) => `${code} ${reason}`);
    expect(tally["OK "]).toHaveLength(40);
    expect(tally["ResourceExhausted PLACEMENT_FULL"]).toHaveLength(10);
    expect(await counted(hub(), "rush")).toEqual(
      [1, 2, 3, 4].map((at) => ({ name: `rush-${at}`, instances: 10, counted: 10 })),
    );
  });

  it("fill one named cell to its bound", async () => {
    await cell("narrow", { region: "narrow", instancesMax: 7 });
    const instance = (at: number) => wanted(`narrow-${at}`, "std", "narrow", { cell: "narrow" });
    const ends = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, at) =>
        finalRefusal(() => instances().createInstance({ instance: instance(at) })),
      ),
    );
    expect(ends.filter(({ code }) => code === "OK")).toHaveLength(7);
    expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(["", "CELL_FULL"]));
    expect(await counted(hub(), "narrow")).toMatchObject([{ instances: 7, counted: 7 }]);
  });

  it("keep a dedicated plan's quota for each subscription", async () => {
    await plan("few", TenancyModel.DEDICATED, { ...HOSTED, instancesMax: 3 });
    await subscribe("acme", "few");
    const ends = await Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        finalRefusal(() =>
          instances().createInstance({ instance: wanted(`few-${at}`, "few", "") }),
        ),
      ),
    );
    expect(ends.filter(({ code }) => code === "OK")).toHaveLength(3);
    expect(ends.find(({ code }) => code !== "OK")).toMatchObject({
      code: "ResourceExhausted",
      reason: "PLAN_QUOTA",
      metadata: { limit: "3", used: "3" },
    });
  });

  it("open as many pooled instances as are needed, and no more than the plan allows", async () => {
    await cell("pool-1", { region: "pool" });
    await cell("pool-2", { region: "pool" });
    const pool = { release: "1.0.0" };
    await plan("shared", TenancyModel.POOLED, { seatsMax: 10, instancesMax: 4, pool });
    const tenants = Array.from({ length: AT_ONCE }, (_, at) => `tenant-${at}`);
    const service = hub().client(TenantService, hub().tokens.owner);
    for (const name of tenants) await service.createTenant({ tenant: { metadata: { name } } });
    const placement = { region: "pool" };
    // Each replica lets its own callers take turns; between them stands the database alone.
    const replica = otherReplica(hub());
    const ends = await Promise.all(
      tenants.map((tenant, at) =>
        at % 2 === 0
          ? finalRefusal(() => subscribe(tenant, "shared", { placement }))
          : finalRefusal(() => replica(tenant, "shared", { region: "pool" })),
      ),
    );
    const tally = Object.groupBy(ends, ({ code, reason }) => `${code} ${reason}`);
    expect(tally["OK "]).toHaveLength(40);
    expect(tally["ResourceExhausted PLAN_QUOTA"]).toHaveLength(10);
    const opened = (await instances().listInstances({ pageSize: 500 })).instances.filter(
      ({ spec }) => spec?.plan === "shared",
    );
    // The reserved seat is one more.
    expect(
      opened.map(({ metadata, spec, status }) => [metadata?.name, spec?.cell, status?.seats]),
    ).toEqual([
      ["shared-1", "pool-1", 11],
      ["shared-2", "pool-2", 11],
      ["shared-3", "pool-1", 11],
      ["shared-4", "pool-2", 11],
    ]);
    expect(opened[0]?.status?.placement?.message).toContain("opened for a subscription");
  });
});

describe("a subscription to a pooled plan", () => {
  it("keeps its seat when it is applied again without an instance", async () => {
    await plan("calm", TenancyModel.POOLED, { seatsMax: 1, pool: { release: "1.0.0" } });
    const first = await subscribe("acme", "calm");
    const second = await subscribe("globex", "calm");
    expect([first?.spec?.instance, second?.spec?.instance]).toEqual(["calm-1", "calm-2"]);
    expect(second?.status?.placement?.message).toBe("in a new instance: the plan's 1 had no room");
    const again = await subscriptions().updateSubscription({
      subscription: {
        metadata: { name: "calm", tenant: "globex" },
        spec: { plan: "calm", overrides: { x: 1 } },
      },
    });
    expect(again.subscription?.spec?.instance).toBe("calm-2");
    const seen = await hub()
      .client(SubscriptionService, hub().tokens.globexOwner)
      .getSubscription({ subscription: "calm" });
    expect(seen.subscription?.status?.placement).toBeUndefined();
    expect(seen.subscription?.spec?.instance).toBe("");
    expect(uuidOf("seat", seen.subscription?.status?.seat ?? "")).not.toBe("");
  });

  it("is told why there is no seat when the plan opens no instance", async () => {
    await plan("none", TenancyModel.POOLED);
    const said = await refusal(subscribe("acme", "none"));
    expect(said).toMatchObject({ code: "FailedPrecondition", reason: "PLACEMENT_IMPOSSIBLE" });
    expect(said.text).toContain("plan none opens no instance by itself: it has no spec.pool");
  });

  it("opens no instance in a dry run", async () => {
    await plan("dry", TenancyModel.POOLED, { pool: { release: "1.0.0" } });
    const subscription = { metadata: { name: "dry", tenant: "acme" }, spec: { plan: "dry" } };
    const answer = await subscriptions().createSubscription({ subscription, validateOnly: true });
    expect(answer.subscription?.spec?.instance).toBe("dry-1");
    expect((await refusal(instances().getInstance({ instance: "dry-1" }))).code).toBe("NotFound");
  });
});

describe("the amounts of a plan or a cell", () => {
  it("are refused above what can be counted exactly", async () => {
    const asks = { cpu: 2n ** 63n };
    const said = await refusal(plan("huge", TenancyModel.DEDICATED, { asks }));
    expect(said).toMatchObject({ code: "InvalidArgument", reason: "AMOUNT_RANGE" });
    const wide = await refusal(cell("huge", { region: "", resources: asks }, null));
    expect(wide).toMatchObject({ code: "InvalidArgument", reason: "AMOUNT_RANGE" });
  });
});
