/** What an agent does over an instance's life: repairs, holds, supersedes, stops, removes, adopts; and never deletes unasked. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { OfferSchema } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { FreshnessSchema } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { AttemptState, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { signEnvelope } from "@holdfast/shared/dsse.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { noteFreshness } from "../assignments/pinning.ts";
import {
  type AgentWorld,
  agentWorld,
  CELL,
  instanceId,
  type RunningAgent,
} from "./engine.test-world.ts";
import { fileDriver } from "./file-driver.test-world.ts";
import { VENDOR } from "./release.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

const serves = (number: bigint) => (status: InstanceStatus) =>
  status.committedGeneration?.number === number;
const conditionOf = (status: InstanceStatus, type: string) =>
  status.conditions.find((each) => each.type === type);
const says = (type: string, reason: string) => (status: InstanceStatus) =>
  conditionOf(status, type)?.reason === reason;
const root = (n = 1) => join(world.stateDir, "instances", instanceId(n).slice("ins_".length));
const runFile = (handle: string) => join(root(), "run", handle);

function crash(handle: string): void {
  const file = JSON.parse(readFileSync(runFile(handle), "utf8")) as object;
  writeFileSync(runFile(handle), JSON.stringify({ ...file, exited: true }));
}

describe("between attempts", () => {
  it("a copy that crashed is started again without an attempt", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    const before = await agent.until((each) => serves(1n)(each) && says("Ready", "READY")(each));
    const [copy] = world.copies();
    crash(copy?.handle ?? "");
    await agent.until(
      () => world.copies().length === 1 && world.copies()[0]?.handle !== copy?.handle,
    );
    const after = await agent.until(says("Drifted", "AS_COMMITTED"));
    expect(after.attempt?.startTime).toEqual(before.attempt?.startTime);
    expect(after.outputs).not.toEqual(before.outputs);
  });

  it("a failing look changes nothing, and says that it is not known", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(says("Ready", "READY"));
    const orders = agent.driver.orders.length;
    agent.driver.faults.observe = "proc is not mounted";
    const status = await agent.until(says("Ready", "NOT_KNOWN"));
    expect(conditionOf(status, "Ready")?.status).toBe(ConditionStatus.UNKNOWN);
    expect(agent.driver.orders.length).toBe(orders);
    expect(world.copies()).toHaveLength(1);
  });

  it("a stray is reported and never dropped", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(says("Ready", "READY"));
    const file = JSON.parse(readFileSync(runFile(world.copies()[0]?.handle ?? ""), "utf8"));
    writeFileSync(runFile("stray"), JSON.stringify({ ...file, resourceId: "other" }));
    await agent.until(says("Drifted", "STRAYS"));
    expect(existsSync(runFile("stray"))).toBe(true);
  });

  it("dependants are told when what they depend on comes back elsewhere", async () => {
    const resources = [
      { id: "db" },
      { id: "app", dependsOn: ["db"], args: ["--db", `\${resources.db.outputs.ports.http}`] },
    ];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    await agent.until(says("Ready", "READY"));
    const find = (id: string) => world.copies().filter(({ file }) => file.resourceId === id);
    expect(find("app")[0]?.file.argv.at(-1)).toBe(String(find("db")[0]?.file.port));
    const [db] = find("db");
    crash(db?.handle ?? "");
    await agent.until(() => {
      const [app, ...more] = find("app");
      const [next] = find("db");
      return (
        more.length === 0 &&
        next?.handle !== db?.handle &&
        app?.file.argv.at(-1) === String(next?.file.port)
      );
    });
  });
});

describe("a newer assignment", () => {
  it("supersedes an attempt that waits for readiness", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    const slow = world.offerOf({ number: 2n, resources: [{ mode: "never-ready" }] });
    await agent.intake.offered(slow);
    await agent.until(() => world.copies().length === 2);
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until((each) => serves(3n)(each) && world.copies().length === 1);
    expect(world.copies()[0]?.file.number).toBe("3");
    // Never journalled as done and left behind.
    expect(agent.driver.orders.filter((order) => order === "worker/stop")).toHaveLength(2);
  });

  it("does not restart what it does not change", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, release: 7 }));
    await agent.until(serves(1n));
    const before = world.copies();
    await agent.intake.offered(world.offerOf({ number: 2n, release: 7 }));
    await agent.until(serves(2n));
    expect(world.copies()).toEqual(before);
    expect(agent.driver.orders).toEqual(["worker/start"]);
  });

  it("removes resources that it does not name any more, after the commit", async () => {
    await agent.intake.offered(
      world.offerOf({ number: 1n, resources: [{ id: "a" }, { id: "b" }] }),
    );
    await agent.until(serves(1n));
    await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ id: "a" }] }));
    await agent.until((each) => serves(2n)(each) && world.copies().length === 1);
    expect(world.copies()[0]?.file.resourceId).toBe("a");
  });
});

describe("one instance", () => {
  it("that hangs delays no other", async () => {
    const hanging = world.offerOf({ number: 1n, release: 50, resources: [{ mode: "hang" }] });
    await agent.intake.offered(hanging);
    await agent.until(() => agent.driver.orders.length === 1);
    await agent.intake.offered(world.offerOf({ instance: instanceId(2), number: 1n }));
    await agent.until(serves(1n), instanceId(2));
    expect(agent.statusOf()?.attempt?.state).toBe(AttemptState.RUNNING);
  });

  it("is stopped without losing anything and started again", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, release: 1 }));
    await agent.until(says("Ready", "READY"));
    writeFileSync(join(root(), "data", "rows"), "kept");
    await agent.intake.offered(world.offerOf({ number: 2n, release: 1, stopped: true }));
    await agent.until((each) => says("Ready", "STOPPED")(each) && world.copies().length === 0);
    await agent.intake.offered(world.offerOf({ number: 3n, release: 1 }));
    await agent.until((each) => serves(3n)(each) && says("Ready", "READY")(each));
    expect(readFileSync(join(root(), "data", "rows"), "utf8")).toBe("kept");
  });

  it("goes by a tombstone alone, and its data stays", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    writeFileSync(join(root(), "data", "rows"), "kept");
    await agent.intake.offered(world.offerOf({ number: 2n, tombstone: true }));
    const status = await agent.until(({ removed }) => removed);
    expect(status.committedGeneration).toBeUndefined();
    expect(world.copies()).toEqual([]);
    expect(existsSync(join(root(), "run"))).toBe(false);
    expect(existsSync(join(root(), "logs"))).toBe(false);
    expect(existsSync(join(root(), "outputs.json"))).toBe(false);
    expect(readFileSync(join(root(), "data", "rows"), "utf8")).toBe("kept");
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until((each) => serves(3n)(each) && !each.removed);
  });
});

describe("a hold", () => {
  it("for a missing secret ends as soon as the file is there", async () => {
    const resources = [{ secretFiles: { dsn: `\${secrets.dsn}` } }];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    const status = await agent.until(says("InSync", "SECRET_MISSING"));
    expect(status.attempt?.state).toBe(AttemptState.HELD);
    expect(world.copies()).toEqual([]);
    const path = join(world.secretsDir, "dsn");
    writeFileSync(path, "postgres://…\n", { mode: 0o644 });
    await agent.until(says("InSync", "SECRET_EXPOSED"));
    rmSync(path);
    writeFileSync(path, "postgres://…\n", { mode: 0o600 });
    await agent.until(serves(1n));
    expect(agent.driver.orders).toEqual(["worker/start"]);
  });

  it("for a missing driver names it", async () => {
    await agent.end();
    const elsewhere = { ...fileDriver(), kind: "container" };
    agent = world.begin({ driver: elsewhere });
    await agent.intake.offered(world.offerOf({ number: 1n }));
    const status = await agent.until(says("InSync", "DRIVER_MISSING"));
    expect(conditionOf(status, "InSync")?.message).toContain("process");
  });

  it("for a stale cell stops changes, never workloads", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(says("Ready", "READY"));
    const note = (expiresAt: number) => {
      const payload = toBinary(
        FreshnessSchema,
        create(FreshnessSchema, {
          vendorId: VENDOR,
          cellId: CELL,
          incarnation: 1n,
          signTime: timestampFromMs(Date.now()),
          expireTime: timestampFromMs(expiresAt),
        }),
      );
      return signEnvelope("freshness", payload, [world.hubKey]);
    };
    const to = { vendorId: VENDOR, cellId: CELL };
    noteFreshness(agent.store, note(Date.now() - 2_000), to);
    await agent.intake.offered(world.offerOf({ number: 2n }));
    const status = await agent.until(says("InSync", "STALE"));
    expect(conditionOf(status, "Ready")?.status).toBe(ConditionStatus.TRUE);
    expect(world.copies()[0]?.file.number).toBe("1");
    noteFreshness(agent.store, note(Date.now() + 60_000), to);
    agent.engine.wakeAll();
    await agent.until(serves(2n));
  });

  it("for content that cannot be fetched ends when the link is back", async () => {
    world.link.hasArtefacts = false;
    await agent.intake.offered(world.offerOf({ number: 1n }));
    const status = await agent.until(({ attempt }) => attempt?.state === AttemptState.HELD);
    expect(status.attempt?.reason).toBe("LINK_DOWN");
    world.link.hasArtefacts = true;
    agent.engine.wakeAll();
    await agent.until(serves(1n));
  });
});

describe("a restart of the agent", () => {
  it("adopts what runs and touches nothing that is as wanted", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(says("Ready", "READY"));
    const before = world.copies();
    const version = agent.engine.statuses()[0]?.version ?? 0;
    await agent.end();
    agent = world.begin();
    await agent.until(says("Ready", "READY"));
    await agent.until(() => agent.statusOf()?.outputs?.["worker"] !== undefined);
    expect(world.copies()).toEqual(before);
    expect(agent.driver.orders).toEqual([]);
    expect(agent.engine.statuses()[0]?.version).toBeGreaterThanOrEqual(version);
  });

  it("keeps a failed attempt held", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode: "sick" }] }));
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    await agent.end();
    agent = world.begin();
    await agent.until(says("Ready", "READY"));
    await agent.until(says("InSync", "NOT_READY"));
    expect(agent.driver.orders).toEqual([]);
  });
});

describe("an entitlement", () => {
  it("reaches the workload by file and signal, without an attempt", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    const before = await agent.until(says("Ready", "READY"));
    const offer = (entitlement: ReturnType<typeof world.entitlementOf>) =>
      create(OfferSchema, { instanceId: instanceId(), entitlement });
    await agent.intake.offered(offer(world.entitlementOf(1n, ["acme", "globex"])));
    const told = join(root(), "signalled-worker");
    await agent.until(() => existsSync(told));
    const seats = JSON.parse(readFileSync(join(root(), "seats.json"), "utf8"));
    expect(seats.revision).toBe("1.1");
    expect(seats.seats.map(({ name }: { name: string }) => name)).toEqual(["acme", "globex"]);
    expect(agent.statusOf()?.attempt?.startTime).toEqual(before.attempt?.startTime);
    await agent.intake.offered(offer(world.entitlementOf(2n, ["acme"])));
    await agent.until(() => readFileSync(join(root(), "seats.json"), "utf8").includes('"1.2"'));
    await agent.intake.offered(offer(world.entitlementOf(1n, ["acme", "globex"])));
    await agent.until(({ attempt }) => attempt?.reason === "REVISION_OLD");
    expect(readFileSync(join(root(), "seats.json"), "utf8")).toContain('"1.2"');
  });
});
