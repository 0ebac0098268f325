/** The end of an instance: in which order, what it waits for, what it says meanwhile, and that a crash changes nothing. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AttemptState, StepState } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openPolicy } from "../consent/open.ts";
import { instanceDirectories, instanceFolder } from "../local/directories.ts";
import * as attempts from "../store/attempts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import type { Journal } from "./journal.ts";
import type { UsageStream } from "./last-usage.ts";

let world: AgentWorld;
let agent: RunningAgent;

beforeEach(async () => {
  world = await agentWorld();
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

const PAIR = [{ id: "store" }, { id: "worker", dependsOn: ["store"] }] as const;

async function serving(resources: Parameters<AgentWorld["publish"]>[1] = PAIR): Promise<void> {
  await agent.intake.offered(world.offerOf({ number: 1n, resources }));
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
}

const tombstone = (number = 2n) => world.offerOf({ number, release: 1, tombstone: true });

/** A copy that cannot be stopped, or can again. */
function setMode(id: string, mode: string): void {
  const { run } = instanceDirectories(world.stateDir, instanceId());
  for (const { handle, file } of world.copies()) {
    if (file.resourceId !== id) continue;
    writeFileSync(join(run, handle), JSON.stringify({ ...file, mode }));
  }
}

describe("a removal", () => {
  it("is an attempt that ends dependants first, and is remembered", async () => {
    agent = world.begin();
    await serving();
    await agent.intake.offered(tombstone());
    const { attempt, finalizers } = await agent.until(({ removed }) => removed);
    const stops = agent.driver.orders.filter((order) => order.endsWith("/stop"));
    expect(stops).toEqual(["worker/stop", "store/stop"]);
    expect(attempt).toMatchObject({ state: AttemptState.COMMITTED, reason: "REMOVED" });
    expect(attempt?.steps.map(({ id }) => id.replace(/-.*$/, ""))).toEqual([
      "worker/stop/worker",
      "store/stop/store",
      "instance/drop",
      "instance/report",
    ]);
    expect(attempt?.steps.every(({ state }) => state === StepState.DONE)).toBe(true);
    expect(finalizers).toEqual([]);
    expect(attempts.listJournal(agent.store, instanceId())).toEqual([]);
    await agent.end();
    agent = world.begin();
    const again = await agent.until(({ removed }) => removed);
    expect(again.attempt).toEqual(attempt);
  });

  it("says which step fails, tries it again, and never writes more than it has to", async () => {
    agent = world.begin();
    await serving();
    setMode("worker", "keep");
    await agent.intake.offered(tombstone());
    const stuck = await agent.until(({ attempt }) => attempt?.reason === "DRIVER_FAILED");
    expect(stuck.removed).toBe(false);
    expect(stuck.finalizers.map(({ name, reason }) => [name, reason])).toEqual([
      ["workloads", "DRIVER_FAILED"],
      ["usage", "AFTER_WORKLOADS"],
    ]);
    expect(stuck.finalizers[0]?.message).toContain("it cannot be stopped");
    expect(stuck.attempt?.steps[0]).toMatchObject({ state: StepState.FAILED });
    const tries = () => agent.driver.orders.filter((order) => order === "worker/stop").length;
    for (const from = tries(); tries() < from + 2; ) {
      agent.engine.wake(instanceId());
      await agent.context.clock.sleep(5);
    }
    const entries = agent.store.get<{ n: bigint }>("select count(*) as n from journal");
    expect(entries?.n).toBe(2n);
    setMode("worker", "");
    agent.engine.wake(instanceId());
    const { attempt } = await agent.until(({ removed }) => removed);
    expect(attempt?.startTime).toEqual(stuck.attempt?.startTime);
    expect(world.copies()).toEqual([]);
  });

  it("waits until the hub has the usage up to the last reading", async () => {
    let stream: UsageStream = { epoch: 3n, nextSeq: 5n, acceptedSeq: 4n };
    const measured: number[] = [];
    const measure = async () => {
      measured.push(world.copies().length);
      stream = { ...stream, nextSeq: stream.nextSeq + 2n };
    };
    let looks = 0;
    const look = () => {
      looks += 1;
      return stream;
    };
    agent = world.begin({ usage: { measure, stream: look } });
    await serving();
    await agent.intake.offered(tombstone());
    const waiting = await agent.until(({ finalizers }) => finalizers.length === 1);
    expect(waiting.finalizers[0]).toMatchObject({ name: "usage", reason: "USAGE_UNREPORTED" });
    expect(measured).toEqual([2, 0]);
    expect(world.copies()).toEqual([]);
    // A new epoch numbers the records anew; until they are accepted in it nothing is confirmed.
    stream = { epoch: 4n, nextSeq: 3n, acceptedSeq: 0n };
    for (const from = looks; looks < from + 3; ) {
      agent.engine.wake(instanceId());
      await agent.context.clock.sleep(1);
    }
    expect(agent.statusOf()?.removed).toBe(false);
    stream = { ...stream, nextSeq: 9n, acceptedSeq: 2n };
    await agent.until(({ removed }) => removed);
    expect(measured).toEqual([2, 0]);
    // However often it was looked whether the usage is there, nothing of it was made again.
    const left = readdirSync(instanceFolder(world.stateDir, instanceId()));
    expect(left).toEqual(["data"]);
  });

  it("is held by the customer's rules before anything of it is touched", async () => {
    agent = world.begin();
    await serving();
    await agent.end();
    agent = world.begin({ consent: openPolicy(["kind:process"]) });
    await agent.intake.offered(tombstone());
    const held = await agent.until(({ finalizers }) => finalizers[0]?.reason === "CONSENT_VETOED");
    expect(held.attempt).toMatchObject({ state: AttemptState.HELD, reason: "CONSENT_VETOED" });
    expect(world.copies()).toHaveLength(2);
    await agent.end();
    agent = world.begin();
    await agent.until(({ removed }) => removed);
  });

  it("undoes an attempt that is under way first", async () => {
    agent = world.begin();
    await serving([{}]);
    const resources = [{ mode: "never-ready", readyMsMax: 60_000 }];
    await agent.intake.offered(world.offerOf({ number: 2n, resources }));
    await agent.until(() => world.copies().length === 2);
    await agent.intake.offered(tombstone(3n));
    await agent.until(({ removed }) => removed);
    expect(world.copies()).toEqual([]);
  });

  it("gives way to a newer wish, which finds the data as it was", async () => {
    agent = world.begin();
    await serving();
    const { data } = instanceDirectories(world.stateDir, instanceId());
    writeFileSync(join(data, "rows"), "kept");
    setMode("store", "keep");
    await agent.intake.offered(tombstone());
    await agent.until(({ attempt }) => attempt?.reason === "DRIVER_FAILED");
    await agent.intake.offered(world.offerOf({ number: 3n, release: 1, resources: PAIR }));
    const back = await agent.until(({ committedGeneration }) => committedGeneration?.number === 3n);
    expect(back).toMatchObject({ removed: false, finalizers: [] });
    expect(readFileSync(join(data, "rows"), "utf8")).toBe("kept");
    expect(new Set(world.copies().map(({ file }) => file.resourceId)).size).toBe(2);
  });
});

describe("a crash during a removal", () => {
  it("changes nothing of how it ends, at whichever journal write", async () => {
    const total = await removedWith(undefined);
    expect(total).toBeGreaterThanOrEqual(9);
    for (let at = 0; at < total; at++) {
      for (const when of ["before", "after"] as const) await removedWith({ at, when });
    }
    agent = world.begin();
  });

  /** How many writes it took, where it was not cut off. */
  async function removedWith(crash: Crash | undefined): Promise<number> {
    world.dispose();
    world = await agentWorld();
    agent = world.begin();
    await serving();
    await agent.end();
    const seen = { writes: 0, crashed: false };
    agent = world.begin({ journal: crashing(crash, seen) });
    await agent.intake.offered(tombstone());
    await agent.until(({ removed }) => removed || seen.crashed);
    await agent.end();
    if (crash !== undefined) {
      expect(seen.crashed).toBe(true);
      agent = world.begin();
      await agent.until(({ removed }) => removed);
      await agent.end();
    }
    expect({ crash, copies: world.copies() }).toEqual({ crash, copies: [] });
    const root = join(instanceDirectories(world.stateDir, instanceId(2)).run, "..", "..");
    const own = join(root, instanceId().slice("ins_".length));
    expect(["run", "logs", "data"].map((name) => existsSync(join(own, name)))).toEqual([
      ...[false, false, true],
    ]);
    return seen.writes;
  }
});

type Crash = Readonly<{ at: number; when: "before" | "after" }>;

/** Like a killed process: from the crash on, nothing is written and nothing returns. */
function crashing(crash: Crash | undefined, seen: { writes: number; crashed: boolean }) {
  return (inner: Journal): Journal =>
    new Proxy(inner, {
      get:
        (journal, name: keyof Journal) =>
        (...args: never[]) => {
          if (seen.crashed) throw new Error("dead");
          const isHere = seen.writes++ === crash?.at;
          const write = journal[name] as (...given: never[]) => void;
          if (!isHere || crash?.when === "after") write(...args);
          if (!isHere) return;
          seen.crashed = true;
          throw new Error("killed");
        },
    });
}
