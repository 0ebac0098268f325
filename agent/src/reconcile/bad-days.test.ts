/**
 * Days on which the host itself fails: a clock that is set forth and back, a disk that has no room for the journal.
 * Each attempt ends committed or returned all the same, what serves is not touched, and no other instance notices.
 */

import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConsentPort } from "../consent/port.ts";
import * as attempts from "../store/attempts.ts";
import {
  type AgentWorld,
  agentWorld,
  type BeginOptions,
  instanceId,
  type RunningAgent,
} from "./engine.test-world.ts";

const YEAR_MS = 365 * 86_400_000;

let world: AgentWorld;
let agent: RunningAgent;
afterEach(async () => {
  await agent.end();
  world.dispose();
});

const serves =
  (number: bigint) =>
  ({ committedGeneration }: InstanceStatus): boolean =>
    committedGeneration?.number === number;
const isHeld =
  (reason: string) =>
  ({ conditions }: InstanceStatus): boolean =>
    conditions.some((each) => each.type === "InSync" && each.reason === reason);

/** Two instances at their first generation. */
async function begin(options: BeginOptions): Promise<void> {
  world = await agentWorld();
  agent = world.begin(options);
  for (const n of [1, 2]) {
    await agent.intake.offered(world.offerOf({ instance: instanceId(n), number: 1n }));
    await agent.until(serves(1n), instanceId(n));
  }
}

/** What runs of the second instance: as long as it stays the same, nothing has touched it. */
const neighbour = () =>
  world
    .copies()
    .filter(({ file }) => file.instanceId === instanceId(2))
    .map(({ handle, file }) => [handle, file.startedAt]);

describe("a clock that jumps", () => {
  let leapMs: number;
  beforeEach(async () => {
    leapMs = 0;
    const clock: Clock = { ...systemClock, now: () => Date.now() + leapMs };
    await begin({ clock });
  });

  it.each([
    ["forth", 10 * YEAR_MS],
    ["back", -YEAR_MS],
  ])("%s in the middle of an attempt changes nothing of it", async (_, jumpMs) => {
    const before = neighbour();
    agent.driver.faults.slow = "2";
    const resources = [{ readyMsMax: 60_000 }];
    await agent.intake.offered(world.offerOf({ number: 2n, resources }));
    await agent.until(({ attempt }) => attempt?.steps[0]?.id === "worker/start");
    await agent.until(() => world.copies().length === 3);
    leapMs = jumpMs;
    agent.engine.wakeAll();
    delete agent.driver.faults.slow;
    await agent.until((status) => serves(2n)(status) && world.copies().length === 2);
    expect(neighbour()).toEqual(before);
  });

  it("forth and back again leaves nothing that waits for a moment in that future", async () => {
    leapMs = YEAR_MS;
    agent.engine.wakeAll();
    await agent.intake.offered(world.offerOf({ number: 2n }));
    await agent.until((status) => serves(2n)(status) && world.copies().length === 2);
    // A download that fails is tried again after a pause.
    world.link.hasArtefacts = false;
    rmSync(join(world.stateDir, "artefacts"), { recursive: true });
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until(isHeld("LINK_DOWN"));
    leapMs = 0;
    world.link.hasArtefacts = true;
    await agent.until((status) => serves(3n)(status) && world.copies().length === 2);
  });
});

describe("a host that does not let the outputs be published", () => {
  it("keeps the old copy, to which everybody is still sent, until it does", async () => {
    await begin({});
    const folder = join(world.stateDir, "instances", instanceId().slice("ins_".length));
    const draft = join(folder, "outputs.json.new");
    mkdirSync(draft);
    await agent.intake.offered(world.offerOf({ number: 2n }));
    await agent.until(serves(2n));
    // Meanwhile another instance comes to its next generation.
    const other = instanceId(2);
    await agent.intake.offered(world.offerOf({ instance: other, number: 2n }));
    await agent.until(serves(2n), other);
    await agent.until(() => attempts.find(agent.store, other)?.phase === "ENDED");
    const numbers = () =>
      world
        .copies()
        .filter(({ file }) => file.instanceId === instanceId())
        .map(({ file }) => file.number)
        .sort();
    expect(numbers()).toEqual(["1", "2"]);
    expect(agent.statusOf()?.attempt?.message).toMatch(/^outputs not published: EISDIR/);
    const outputs = JSON.parse(readFileSync(join(folder, "outputs.json"), "utf8"));
    expect(outputs.generation).toBe("1.1");
    rmSync(draft, { recursive: true });
    agent.engine.wakeAll();
    await agent.until(() => attempts.find(agent.store, instanceId())?.phase === "ENDED");
    expect(numbers()).toEqual(["2"]);
    expect(agent.statusOf()?.attempt?.message).toBe("");
  });
});

describe("a disk without room for the journal", () => {
  /** SQLite itself refuses every page more than there are. */
  const setFull = (isOn: boolean) => {
    const pages = agent.store.db.pragma(isOn ? "page_count" : "max_page_count", { simple: true });
    agent.store.db.pragma(`max_page_count = ${isOn ? pages : 1_000_000}`);
  };

  it.each([
    { mode: "", ends: 2n },
    { mode: "sick", ends: 1n },
  ])(
    "stops an attempt (new copy: '$mode') where it is, and it goes on when there is room",
    async ({ mode, ends }) => {
      let isAllowed = false;
      const consent: ConsentPort = {
        judge: () =>
          isAllowed
            ? { verdict: "allowed", rule: "day" }
            : { verdict: "held", rule: "day", message: "not yet" },
      };
      await begin({});
      await agent.end();
      agent = world.begin({ consent });
      const before = neighbour();
      // Its steps do not fit into what the pages have left.
      const args = [0, 1, 2, 3].map((n) => String(n).repeat(4_000));
      await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode, args }] }));
      await agent.until(isHeld("CONSENT_HELD"));
      setFull(true);
      isAllowed = true;
      agent.engine.wakeAll();
      await expect.poll(() => agent.store.unwritable).toBe("STORE_FULL");
      expect(world.copies().some(({ file }) => file.instanceId === instanceId(1))).toBe(true);
      expect(agent.statusOf()?.committedGeneration?.number).toBe(1n);
      setFull(false);
      agent.engine.wakeAll();
      await agent.until(
        () =>
          attempts.find(agent.store, instanceId())?.phase === "ENDED" &&
          world.copies().length === 2,
      );
      expect(attempts.findCommitted(agent.store, instanceId())?.generation.number).toBe(ends);
      expect(attempts.listJournal(agent.store, instanceId())).toEqual([]);
      expect(neighbour()).toEqual(before);
    },
  );
});
