/**
 * A restart of a real process by an agent that is killed with SIGKILL at every journal write of it, before and after:
 * the process is another one in the end, started once and not twice, and the order is answered.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { describe, expect, it, onTestFinished } from "vitest";
import * as attempts from "../store/attempts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import { runChild } from "./killing.test-world.ts";

const CHILD = fileURLToPath(new URL("./restart.test-world.ts", import.meta.url));
const READY_MS_MAX = 60_000;

/** Process numbers in the order of their starts, once there are so many. */
async function started(world: AgentWorld, count: number): Promise<readonly string[]> {
  await expect.poll(() => starts(world).length).toBeGreaterThanOrEqual(count);
  return starts(world);
}

function starts({ stateDir }: AgentWorld): readonly string[] {
  const hex = instanceId().slice("ins_".length);
  const path = join(stateDir, "instances", hex, "data", "starts");
  // A file that was just made has no line yet, and an empty one would name this test's own process group.
  return existsSync(path) ? (readFileSync(path, "utf8").match(/^[1-9]\d*$(?=\n)/gm) ?? []) : [];
}

/** What a test that fails leaves running. */
function endAll(world: AgentWorld): void {
  for (const pid of starts(world)) if (exists(pid)) process.kill(Number(pid), "SIGKILL");
}

const exists = (pid: string | undefined) => {
  try {
    return pid !== undefined && process.kill(Number(pid), 0);
  } catch {
    return false;
  }
};

async function finish(world: AgentWorld, agent: RunningAgent): Promise<void> {
  await agent.intake.offered(world.offerOf({ number: 2n, tombstone: true }));
  await agent.until(({ removed }) => removed);
  await agent.end();
  expect(starts(world)).toHaveLength(2);
  world.dispose();
}

describe.each([
  { restart: "that runs both for a moment", portless: false },
  { restart: "that stops the old one first", portless: true },
])("a restart $restart", ({ portless }) => {
  it("happens once, wherever the agent is killed", async () => {
    let killed = 0;
    for (let at = 0, isOver = false; !isOver; at++) {
      for (const when of ["before", "after"]) {
        const world = await agentWorld();
        onTestFinished(() => endAll(world));
        const first = world.begin({ isReal: true });
        const resources = [{ readyMsMax: READY_MS_MAX, portless }];
        await first.intake.offered(world.offerOf({ number: 1n, resources }));
        await first.until(({ committedGeneration }) => committedGeneration?.number === 1n);
        await first.end();
        const [before] = await started(world, 1);
        const end = await runChild(CHILD, [world.stateDir, String(at), when]);
        isOver = end !== "SIGKILL";
        if (isOver) expect(end).toBe("exit 0: ");
        else killed += 1;
        const agent = world.begin({ isReal: true });
        const { state, message } = await agent.order({ id: "r1" }).ended;
        expect([ActionState[state], message]).toEqual(["DONE", "worker: another copy serves"]);
        const [, after] = await started(world, 2);
        await expect.poll(() => exists(before)).toBe(false);
        expect(exists(after)).toBe(true);
        expect(attempts.listJournal(agent.store, instanceId())).toEqual([]);
        await finish(world, agent);
      }
    }
    expect(killed).toBeGreaterThanOrEqual(10);
  });
});
