/** What an agent does that may change nothing: what serves is looked after, and what is wanted waits. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { localReport } from "../local/report.ts";
import { statusText, whyText } from "../local/show.ts";
import * as facts from "../store/facts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";

let world: AgentWorld;
let agent: RunningAgent;

const serves = (number: bigint) => (status: InstanceStatus) =>
  status.committedGeneration?.number === number;
const numbers = () => world.copies().map(({ file }) => file.number);

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
  await agent.intake.offered(world.offerOf({ number: 1n }));
  await agent.until(serves(1n));
});
afterEach(async () => {
  await agent.end();
  world.dispose();
});

/** Ends the copy that runs; resolves once another one has taken its place. */
async function isRepaired(): Promise<void> {
  const [copy] = world.copies();
  const folder = instanceId().slice("ins_".length);
  const file = join(world.stateDir, "instances", folder, "run", copy?.handle ?? "");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), exited: true }));
  await agent.until(
    () => world.copies().length === 1 && world.copies()[0]?.handle !== copy?.handle,
  );
}

describe("an agent whose identity is frozen", () => {
  const report = () =>
    localReport(agent.store, {
      running: true,
      isReadOnly: false,
      pid: 7,
      version: "0.1.0",
      statuses: agent.engine.statuses().map(({ status }) => status),
    });

  beforeEach(async () => {
    facts.putFrozen(agent.store, Date.UTC(2026, 10, 21));
    await agent.intake.offered(world.offerOf({ number: 2n }));
    await agent.until(({ conditions }) =>
      conditions.some(({ type, reason }) => type === "InSync" && reason === "IDENTITY_FROZEN"),
    );
  });

  it("begins nothing new, and looks after what serves", async () => {
    await isRepaired();
    expect(numbers()).toEqual(["1"]);
    expect(agent.statusOf()?.committedGeneration?.number).toBe(1n);
  });

  it("says so, and what is to be done", () => {
    const shown = report();
    expect(statusText(shown)).toContain("frozen   IDENTITY_FROZEN since 2026-11-21T00:00:00.000Z");
    expect(statusText(shown)).toContain("holdfast cell takeover");
    const [instance] = shown.instances;
    if (instance === undefined) throw new Error("no instance");
    expect(whyText(shown, instance)).toMatch(/next {6}nothing new here \(IDENTITY_FROZEN\)/);
  });

  it("goes on where it was once that is over", async () => {
    facts.clearFrozen(agent.store);
    agent.engine.wakeAll();
    await agent.until(serves(2n));
  });
});

describe("an agent whose store takes no writes", () => {
  const setReadOnly = (isOn: boolean) =>
    agent.store.db.pragma(`query_only = ${isOn ? "ON" : "OFF"}`);

  it("begins nothing new, looks after what serves for as long as it lasts, and goes on afterwards", async () => {
    setReadOnly(true);
    await agent.intake.offered(world.offerOf({ number: 2n })).catch(() => undefined);
    await isRepaired();
    // A second time: that the first could not be stored has not ended the loop.
    await isRepaired();
    expect(numbers()).toEqual(["1"]);
    setReadOnly(false);
    await agent.intake.offered(world.offerOf({ number: 3n }));
    await agent.until(serves(3n));
  });
});
