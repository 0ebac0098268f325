/**
 * The agent dies at every journal write of an attempt, before and after it, and again while it resumes. Each time
 * the next start ends in the old or the new state: one copy serves, the journal is empty, nothing is left over.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as attempts from "../store/attempts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import type { Journal } from "./journal.ts";

type Crash = Readonly<{ at: number; when: "before" | "after" }>;

/** Like a killed process: from the crash on, nothing is written and nothing returns. */
function crashing(crash: Crash | undefined, seen: { writes: string[]; crashed: boolean }) {
  return (inner: Journal): Journal => {
    const guarded =
      <Args extends unknown[]>(name: string, write: (...args: Args) => void) =>
      (...args: Args): void => {
        if (seen.crashed) throw new Error("dead");
        const n = seen.writes.length;
        seen.writes.push(name);
        const isHere = crash?.at === n;
        if (!isHere || crash?.when === "after") write(...args);
        if (!isHere) return;
        seen.crashed = true;
        throw new Error("killed");
      };
    return {
      note: guarded("note", inner.note),
      rendered: guarded("rendered", inner.rendered),
      append: guarded("append", inner.append),
      commit: guarded("commit", inner.commit),
      end: guarded("end", inner.end),
      removed: guarded("removed", inner.removed),
    };
  };
}

async function crashed(agent: RunningAgent, seen: { crashed: boolean }): Promise<boolean> {
  const endsAt = Date.now() + 30_000;
  while (!seen.crashed) {
    if (Date.now() > endsAt) throw new Error("neither crashed nor ended within 30 s");
    const { attempt } = agent.statusOf() ?? {};
    if (attempt?.generation?.number === 2n && attempt.endTime !== undefined) {
      const record = attempts.find(agent.store, instanceId());
      if (record?.phase === "ENDED") return false;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
}

describe.each([
  { upgrade: "good", mode: "", ends: ["2"] },
  { upgrade: "that fails half way", mode: "fail", ends: ["1"] },
  { upgrade: "that is sick", mode: "sick", ends: ["1"] },
])("an upgrade $upgrade", ({ mode, ends }) => {
  let world: AgentWorld;
  beforeEach(async () => {
    world = await agentWorld();
    const agent = world.begin();
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
    await agent.end();
  });
  afterEach(() => world.dispose());

  const upgrade = (world_: AgentWorld) => world_.offerOf({ number: 2n, resources: [{ mode }] });

  /** Begins, is killed as said, and is started again until it settles. */
  async function survive(crashes: readonly Crash[]): Promise<readonly string[]> {
    let writes: readonly string[] = [];
    for (const crash of crashes) {
      const seen = { writes: [] as string[], crashed: false };
      const agent = world.begin({ journal: crashing(crash, seen) });
      if (writes.length === 0) await agent.intake.offered(upgrade(world));
      const isDead = await crashed(agent, seen);
      if (writes.length === 0) expect(isDead).toBe(true);
      writes = seen.writes;
      await agent.end();
    }
    const agent = world.begin();
    await agent.until(
      () =>
        attempts.find(agent.store, instanceId())?.phase === "ENDED" &&
        attempts.find(agent.store, instanceId())?.generation.number === 2n &&
        world.copies().length === 1,
    );
    expect(attempts.listJournal(agent.store, instanceId())).toEqual([]);
    expect(world.copies().map(({ file }) => file.number)).toEqual(ends);
    const committed = attempts.findCommitted(agent.store, instanceId());
    expect(String(committed?.generation.number)).toBe(ends[0]);
    expect(committed?.resources[0]?.digest).toBe(world.copies()[0]?.file.digest);
    await agent.end();
    return writes;
  }

  it("survives a crash before and after every journal write", async () => {
    const seen = { writes: [] as string[], crashed: false };
    const agent = world.begin({ journal: crashing(undefined, seen) });
    await agent.intake.offered(upgrade(world));
    await crashed(agent, seen);
    await agent.end();
    const { length } = seen.writes;
    expect(length).toBeGreaterThanOrEqual(6);
    world.dispose();
    for (let at = 0; at < length; at++) {
      for (const when of ["before", "after"] as const) {
        world = await agentWorld();
        const first = world.begin();
        await first.intake.offered(world.offerOf({ number: 1n }));
        await first.until(({ committedGeneration }) => committedGeneration?.number === 1n);
        await first.end();
        await survive([{ at, when }]);
        world.dispose();
      }
    }
  });

  it("survives a second crash at one of the first writes of the recovery", async () => {
    for (const at of [2, 3, 4]) {
      for (let again = 0; again < 4; again++) {
        world.dispose();
        world = await agentWorld();
        const first = world.begin();
        await first.intake.offered(world.offerOf({ number: 1n }));
        await first.until(({ committedGeneration }) => committedGeneration?.number === 1n);
        await first.end();
        await survive([
          { at, when: "after" },
          { at: again, when: "after" },
        ]);
      }
    }
  });
});
