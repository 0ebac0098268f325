/** A program that keeps crashing, with a real engine and real processes: what people are told of it, and when it is tried again. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { localReport } from "../local/report.ts";
import { findInstance, whyText } from "../local/show.ts";
import {
  type AgentWorld,
  agentWorld,
  instanceId,
  type RunningAgent,
  realDriver,
} from "./engine.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;
beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin({ isReal: true });
});
afterEach(async () => {
  await agent.end();
  const { signal } = new AbortController();
  await realDriver().drop(instanceId(), { ...agent.context, signal });
  world.dispose();
});

describe("a crash loop", () => {
  it("is told with status, last lines, count and the next try, here and to the hub", async () => {
    const resources = [{ mode: "brief", readyMsMax: 60_000 }];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    for (const count of [1n, 2n, 3n]) {
      await agent.until(({ resources: [worker] }) => (worker?.restarts ?? 0n) >= count);
    }
    // A look that comes between the exit and its plan knows of no next try yet.
    const status = await agent.until(({ conditions }) =>
      conditions.some(
        ({ reason, message }) => reason === "CRASH_LOOP" && message.includes("started again at"),
      ),
    );
    const said = String.raw`exited with status 3: hello \| cannot reach \\u001b\[31mthe source`;
    const told = new RegExp(
      `^worker: failed after [3-9] restarts: ${said}.*; started again at \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z$`,
    );
    const ready = status.conditions.find(({ type }) => type === "Ready");
    expect(ready?.message).toMatch(told);
    const facts = {
      ...{ running: true, isReadOnly: false, pid: 1 },
      ...{ version: "0", statuses: [status] },
    };
    const report = localReport(agent.store, facts);
    const why = whyText(report, findInstance(report, instanceId()));
    // Escaped once, by who knows that it is foreign.
    expect(why).toMatch(new RegExp(`worker \\(process\\): failed, [3-9] restarts: ${said}`));
    expect(why).toMatch(/Ready=False +CRASH_LOOP: worker: failed after [3-9] restarts/);
    const attempt = status.attempt;
    expect(attempt?.reason).toBe("COMMITTED");
  });
});
