/** One-off orders on a real store: done once, in their time, under the customer's rules, and never beside an attempt. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  ActionKind,
  type ActionResult,
  ActionState,
} from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { AttemptState, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Consent, ConsentPort } from "../consent/port.ts";
import * as actions from "../store/actions.ts";
import * as attempts from "../store/attempts.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";

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

const serves =
  (number: bigint) =>
  ({ committedGeneration, attempt }: InstanceStatus) =>
    committedGeneration?.number === number && attempt?.endTime !== undefined;

/** State, reason and message, as people read them. */
function shown({ state, reason, message }: ActionResult): string {
  return `${ActionState[state]} ${reason}: ${message}`;
}

async function ended(order: { ended: Promise<ActionResult> }): Promise<string> {
  return shown(await order.ended);
}

const handles = () => world.copies().map(({ handle }) => handle);

describe("a restart", () => {
  it("puts another copy in the place of the one that serves, which goes last", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    const before = handles();
    expect(await ended(agent.order({ id: "r1" }))).toBe(
      "DONE RESTARTED: worker: another copy serves",
    );
    expect(handles()).toHaveLength(1);
    expect(handles()).not.toEqual(before);
    expect(agent.driver.orders.slice(-2)).toEqual(["worker/start", "worker/stop"]);
    await agent.until(({ outputs }) =>
      String(outputs?.["worker"]).endsWith(String(world.copies()[0]?.file.port)),
    );
  });

  it("stops first what cannot run twice", async () => {
    const resources = [{ args: ["alone"] }];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    await agent.until(serves(1n));
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^DONE/);
    expect(agent.driver.orders.slice(-2)).toEqual(["worker/stop", "worker/start"]);
    expect(handles()).toHaveLength(1);
  });

  it("is not an attempt: the status, the generation and a held failure stay", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.intake.offered(world.offerOf({ number: 2n, resources: [{ mode: "sick" }] }));
    const held = await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    const orders = agent.driver.orders.length;
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^DONE/);
    expect(world.copies().map(({ file }) => file.number)).toEqual(["1"]);
    const after = await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    expect(after.attempt).toEqual(held.attempt);
    expect(agent.driver.orders.slice(orders)).toEqual(["worker/start", "worker/stop"]);
  });

  it("of one resource leaves the others, and tells those who name what it gives out", async () => {
    const port = `\${resources.store.outputs.ports.http}`;
    const resources = [
      { id: "store" },
      { id: "worker", args: [port], dependsOn: ["store"] },
      { id: "other" },
    ];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    await agent.until(serves(1n));
    const [other] = handles().filter((handle) => handle.startsWith("other"));
    expect(await ended(agent.order({ id: "r1", resource: "store" }))).toBe(
      "DONE RESTARTED: store: another copy serves",
    );
    const found = new Map(world.copies().map(({ file }) => [file.resourceId, file]));
    expect(found.size).toBe(3);
    expect(world.copies()).toHaveLength(3);
    expect(found.get("worker")?.argv.at(-1)).toBe(String(found.get("store")?.port));
    expect(handles()).toContain(other);
    const committed = attempts.findCommitted(agent.store, instanceId());
    const digests = committed?.resources.map(({ digest }) => digest) ?? [];
    expect(new Set(digests)).toEqual(new Set(world.copies().map(({ file }) => file.digest)));
  });

  it("that does not become ready is undone, and what served serves on", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    const before = handles();
    await agent.end();
    agent = world.begin();
    agent.driver.faults.sick = true;
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^FAILED NOT_READY: worker: says/);
    agent.driver.faults.sick = false;
    expect(handles()).toEqual(before);
  });

  it("gives way to a newer assignment", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, resources: [{ readyMsMax: 10_000 }] }));
    await agent.until(serves(1n));
    agent.driver.faults.slow = "1";
    const order = agent.order({ id: "r1" });
    await expect.poll(() => handles().length).toBe(2);
    await agent.intake.offered(world.offerOf({ number: 2n }));
    expect(await ended(order)).toMatch(/^FAILED SUPERSEDED/);
    await agent.until(serves(2n));
    await expect.poll(() => world.copies().map(({ file }) => file.number)).toEqual(["2"]);
  });

  it.each([
    ["of a resource that is not there", { resource: "absent" }, "RESOURCE_UNKNOWN"],
    ["of an instance that is not here", { instanceId: instanceId(7) }, "INSTANCE_UNKNOWN"],
    ["as a job", { kind: ActionKind.RUN_JOB, resource: "worker" }, "JOB_UNKNOWN"],
    ["of an unknown kind", { kind: 77 as ActionKind }, "ACTION_UNKNOWN"],
    ["where nothing has failed", { kind: ActionKind.RETRY }, "NOTHING_TO_RETRY"],
  ])("%s is refused", async (_, action, reason) => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    const before = agent.driver.orders.length;
    expect(await ended(agent.order({ id: "r1", ...action }))).toContain(`REFUSED ${reason}: `);
    expect(agent.driver.orders).toHaveLength(before);
  });

  it("of what is stopped is refused", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, stopped: true }));
    await agent.until(serves(1n));
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^REFUSED NOTHING_RUNS/);
  });
});

describe("an order", () => {
  it("that comes again is answered and not done again, also after a start", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    const first = agent.order({ id: "r1" });
    const again = agent.order({ id: "r1" });
    expect(await ended(again)).toMatch(/^DONE/);
    const after = handles();
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^DONE/);
    await agent.end();
    agent = world.begin();
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^DONE/);
    expect(handles()).toEqual(after);
    // The newest connection is told; the one that asked first is gone by then.
    expect(first.told).toEqual([]);
  });

  it("waits for the end of the attempt that is under way", async () => {
    const resources = [{ mode: "never-ready" }];
    await agent.intake.offered(world.offerOf({ number: 1n, resources }));
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RUNNING);
    const order = agent.order({ id: "r1" });
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    expect(await ended(order)).toMatch(/^REFUSED NOTHING_RUNS/);
  });

  it("is not begun after its time by the hub's clock", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.end();
    let hubNow = 1_000_000;
    agent = world.begin({ hubNow: () => hubNow });
    const before = handles();
    const late = agent.order({ id: "r1", notAfter: timestampFromMs(999_000) });
    expect(await ended(late)).toBe("EXPIRED EXPIRED: not begun in its time");
    expect(handles()).toEqual(before);
    hubNow = 999_000;
    const inTime = agent.order({ id: "r2", notAfter: timestampFromMs(999_000) });
    expect(await ended(inTime)).toMatch(/^DONE/);
    // Whoever set it back does not get the first one done.
    expect(await ended(agent.order({ id: "r1" }))).toMatch(/^EXPIRED/);
  });

  it("is refused when too many are open", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, resources: [{ mode: "never-ready" }] }));
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RUNNING);
    for (let n = 0; n < actions.OPEN_ACTIONS_MAX; n++) agent.order({ id: `r${n}` });
    expect(await ended(agent.order({ id: "more" }))).toMatch(/^REFUSED ACTIONS_TOO_MANY: 256 /);
  });

  it("to retry lets a failed attempt begin once more", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n, resources: [{ mode: "sick" }] }));
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    const starts = () => agent.driver.orders.filter((order) => order === "worker/start").length;
    expect(starts()).toBe(1);
    const retry = { id: "a1", kind: ActionKind.RETRY };
    expect(await ended(agent.order(retry))).toBe(
      "DONE RETRIED: the attempt that ended with NOT_READY may begin again",
    );
    await expect.poll(starts).toBe(2);
    expect(await ended(agent.order(retry))).toMatch(/^DONE/);
    await agent.until(({ attempt }) => attempt?.state === AttemptState.RETURNED);
    expect(starts()).toBe(2);
  });
});

describe("a rule of the customer", () => {
  const judging = (judge: () => Consent): ConsentPort => ({ judge });

  it("vetoes a restart", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.end();
    const veto = { verdict: "vetoed", rule: "quiet", message: "never" } as const;
    agent = world.begin({ consent: judging(() => veto) });
    const before = handles();
    expect(await ended(agent.order({ id: "r1" }))).toBe(
      "REFUSED CONSENT_VETOED: 1.1: quiet: never",
    );
    expect(handles()).toEqual(before);
  });

  it("holds one, which says so once and begins when the rule lets it", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.end();
    let answer: Consent = { verdict: "held", rule: "hours", message: "only at night" };
    let asked = 0;
    const judge = () => {
      asked += 1;
      return answer;
    };
    agent = world.begin({ consent: judging(judge) });
    const before = handles();
    const order = agent.order({ id: "r1" });
    await expect.poll(() => asked).toBeGreaterThan(3);
    expect(order.told.map(shown)).toEqual(["HELD CONSENT_HELD: 1.1: hours: only at night"]);
    expect(handles()).toEqual(before);
    answer = { verdict: "allowed", rule: "hours" };
    expect(await ended(order)).toMatch(/^DONE/);
    expect(handles()).not.toEqual(before);
  });

  it("that holds one for too long is named when its time is over", async () => {
    await agent.intake.offered(world.offerOf({ number: 1n }));
    await agent.until(serves(1n));
    await agent.end();
    let hubNow = 0;
    const held = { verdict: "held", rule: "hours", message: "only at night" } as const;
    agent = world.begin({ consent: judging(() => held), hubNow: () => hubNow });
    const order = agent.order({ id: "r1", notAfter: timestampFromMs(10_000) });
    await expect.poll(() => order.told.length).toBe(1);
    hubNow = 11_000;
    expect(await ended(order)).toBe(
      "EXPIRED EXPIRED: not begun in its time; CONSENT_HELD: 1.1: hours: only at night",
    );
  });
});
