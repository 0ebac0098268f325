/** What an agent keeps of instances that are gone: for how long, what outlives that, and that there is room for others. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { ActionKind } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { SeriesSchema } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { instanceDirectories } from "../local/directories.ts";
import * as assignments from "../store/assignments.ts";
import { Outbox } from "../store/outbox.ts";
import { REMOVED_KEPT_MS } from "../store/removed.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;
let offsetMs: number;
const clock = { ...systemClock, now: () => systemClock.now() + offsetMs };

beforeEach(async () => {
  offsetMs = 0;
  world = await agentWorld();
  agent = world.begin({ clock });
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

async function served(n: number): Promise<void> {
  await agent.intake.offered(world.offerOf({ instance: instanceId(n), number: 1n }));
  await agent.until(({ committedGeneration }) => committedGeneration !== undefined, instanceId(n));
}

async function removed(n: number): Promise<void> {
  await served(n);
  const gone = { instance: instanceId(n), number: 2n, release: 1, tombstone: true };
  await agent.intake.offered(world.offerOf(gone));
  await agent.until((status) => status.removed, instanceId(n));
}

const known = () => assignments.list(agent.store).map((each) => each.instanceId);
const rows = (n: number) => join(instanceDirectories(world.stateDir, instanceId(n)).data, "rows");

/** Tables with rows of this instance. */
function tablesWith(n: number): readonly string[] {
  const tables = agent.store.all<{ name: string }>(
    `select m.name from sqlite_master m join pragma_table_info(m.name) c
      where m.type = 'table' and c.name = 'instance_id'`,
  );
  expect(tables.length).toBeGreaterThan(10);
  return tables
    .map(({ name }) => name)
    .filter((name) => {
      const sql = `select 1 from ${name} where instance_id = ?`;
      return agent.store.get(sql, instanceId(n)) !== undefined;
    });
}

describe("an instance that was removed", () => {
  it("is forgotten by every table and folder when its time is over, and not a moment before", async () => {
    await removed(1);
    await served(2);
    offsetMs = REMOVED_KEPT_MS - 60_000;
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([instanceId(1), instanceId(2)]);
    expect(agent.statusOf(instanceId(1))?.removed).toBe(true);
    offsetMs = REMOVED_KEPT_MS + 60_000;
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([instanceId(2)]);
    expect(tablesWith(1)).toEqual([]);
    expect(agent.statusOf(instanceId(1))).toBeUndefined();
    const folders = readdirSync(join(world.stateDir, "instances"));
    expect(folders).toEqual([instanceId(2).slice("ins_".length)]);
    await agent.end();
    agent = world.begin({ clock });
    await agent.until(
      ({ committedGeneration }) => committedGeneration?.number === 1n,
      instanceId(2),
    );
    expect(agent.engine.statuses()).toHaveLength(1);
  });

  it("stays known while data of it is kept, so that an order can name it", async () => {
    await served(1);
    writeFileSync(rows(1), "kept");
    await removed(1);
    await agent.until(({ kept }) => kept.length === 1, instanceId(1));
    offsetMs = 10 * REMOVED_KEPT_MS;
    agent.engine.forgetRemoved("due");
    expect([known(), existsSync(rows(1))]).toEqual([[instanceId(1)], true]);
    await agent.engine.destroy(instanceId(1), "data");
    await agent.until(({ kept }) => kept.length === 0, instanceId(1));
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([]);
    // How the destruction ended is remembered by what bounds orders.
    expect(tablesWith(1)).toEqual(["action_order", "destroy_grant"]);
  });

  it("stays known until its orders are answered, and comes back when it is wanted again", async () => {
    await removed(1);
    offsetMs = 2 * REMOVED_KEPT_MS;
    const order = { id: "act-1", kind: ActionKind.DESTROY, instanceId: instanceId(1) };
    const { ended } = agent.order(order);
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([instanceId(1)]);
    await ended;
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([]);
    await agent.intake.offered(world.offerOf({ instance: instanceId(1), number: 3n, release: 1 }));
    await agent.until((status) => status.committedGeneration?.number === 3n, instanceId(1));
    expect(world.copies()).toHaveLength(1);
  });

  it("stays known as long as nobody can say whether data of it is kept", async () => {
    await agent.end();
    agent = world.begin({ clock, missing: "no driver works here" });
    const gone = { number: 1n, tombstone: true };
    await agent.intake.offered(world.offerOf(gone));
    await agent.until((status) => status.removed);
    offsetMs = 2 * REMOVED_KEPT_MS;
    agent.engine.forgetRemoved("due");
    expect(known()).toEqual([instanceId(1)]);
  });

  it("makes room for another where an agent has as many as it may", async () => {
    await removed(1);
    await removed(2);
    agent.store.transaction(() => {
      for (let n = 3; n <= assignments.INSTANCES_MAX; n++) {
        agent.store.run(
          `insert into assignment select ?, envelope, digest, incarnation, number, release_digest,
             accepted_at, 0 from assignment where instance_id = ?`,
          ...[instanceId(n), instanceId(1)],
        );
      }
    });
    const late = instanceId(assignments.INSTANCES_MAX + 1);
    await served(assignments.INSTANCES_MAX + 1);
    expect(known()).toHaveLength(assignments.INSTANCES_MAX);
    expect([known().includes(instanceId(1)), known().includes(late)]).toEqual([false, true]);
    writeFileSync(rows(2), "kept");
    agent.engine.kept.ring();
    await agent.until(({ kept }) => kept.length === 1, instanceId(2));
    const more = instanceId(assignments.INSTANCES_MAX + 2);
    await agent.intake.offered(world.offerOf({ instance: more, number: 1n }));
    expect(assignments.findRefusal(agent.store, more)?.reason).toBe("INSTANCES_MAX");
  });
});

describe("what else was kept for ever", () => {
  it("goes: refusals of what was never held, and series without records of what is gone", async () => {
    await served(2);
    const stranger = instanceId(9);
    await agent.intake.offered(world.offerOf({ instance: stranger, number: 1n, signWith: [] }));
    expect(assignments.findRefusal(agent.store, stranger)).toBeDefined();
    const outbox = new Outbox(agent.store.db);
    const at = clock.now();
    const recordOf = (n: number, source: string) => {
      const series = create(SeriesSchema, {
        ...{ instanceId: instanceId(n), resource: "worker", source, meter: "cpu_ms" },
        seatId: "sea_1",
      });
      const digest = Buffer.from(toBinary(SeriesSchema, series)).toString("hex");
      return { series, digest, windowStartMs: at - 60_000, windowEndMs: at, value: 1n };
    };
    outbox.append([recordOf(1, "a"), recordOf(2, "b")]);
    offsetMs = REMOVED_KEPT_MS + 120_000;
    // Nothing goes that the hub does not have.
    agent.engine.forgetRemoved("due");
    expect(outbox.backlog()).toMatchObject({ series: 2, waiting: 2 });
    outbox.accept(2n, new Uint8Array(32));
    outbox.rollUp(clock.now());
    agent.engine.forgetRemoved("due");
    expect(outbox.backlog()).toMatchObject({ series: 1, waiting: 0 });
    expect(outbox.lastEnd(recordOf(2, "b").digest)).toBe(at);
    expect(assignments.findRefusal(agent.store, stranger)).toBeUndefined();
    expect(agent.store.get("pragma foreign_keys")).toMatchObject({ foreign_keys: 1n });
  });
});
