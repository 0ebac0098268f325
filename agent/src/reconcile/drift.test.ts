/** What others changed: told, brought back, held for a person, accepted; and never what is nobody's business here. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import { ActionKind, ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { DriftPolicy } from "@holdfast/proto/holdfast/model/v1/assignment_pb.js";
import { ConditionStatus } from "@holdfast/proto/holdfast/model/v1/condition_pb.js";
import { DriftSchema, type InstanceStatus } from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConsentPort } from "../consent/port.ts";
import type { Driver, Step } from "../drivers/driver.ts";
import type { DriftJson } from "../local/report.ts";
import { driftLines } from "../local/show-drift.ts";
import {
  DIFFERENCES_MAX,
  driftText,
  needsPerson,
  QUARREL_MS_MAX,
  quarrelText,
  type Reverted,
  revertedAgain,
  shownValue,
  VALUE_CHARS_MAX,
} from "./drift.ts";
import { changedInstances } from "./driver-watches.ts";
import { type AgentWorld, agentWorld, instanceId, type RunningAgent } from "./engine.test-world.ts";
import { fileDriver } from "./file-driver.test-world.ts";

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

const driftedIs = (status: InstanceStatus) =>
  status.conditions.find(({ type }) => type === "Drifted")?.reason;
const says = (reason: string) => (status: InstanceStatus) => driftedIs(status) === reason;
const serves = (number: bigint) => (status: InstanceStatus) =>
  status.committedGeneration?.number === number;
const offer = (number: bigint, driftPolicy: DriftPolicy, more: object = {}) =>
  agent.intake.offered(world.offerOf({ number, ...more, assignment: { driftPolicy } }));
const file = () => {
  const [copy, ...others] = world.copies();
  expect(others).toEqual([]);
  if (copy === undefined) throw new Error("nothing runs");
  return join(world.stateDir, "instances", instanceId().slice("ins_".length), "run", copy.handle);
};
const argvNow = () => (JSON.parse(readFileSync(file(), "utf8")) as { argv: unknown }).argv;
const change = (fields: object) => {
  const path = file();
  const found = JSON.parse(readFileSync(path, "utf8")) as object;
  writeFileSync(path, JSON.stringify({ ...found, ...fields }));
};
/** In place of the look that time brings. */
const look = () => agent.engine.snapshots.fresh("process");
const meddle = async (...argv: readonly string[]) => {
  change({ argv });
  await look();
};
const running = async (policy: DriftPolicy) => {
  await offer(1n, policy);
  await agent.until(serves(1n));
  await look();
  await agent.until((status) => status.drift !== undefined);
};
const order = (kind: ActionKind, id: string, resource = "") =>
  agent.order({ id, kind, resource }).ended;

describe("the policy report", () => {
  it("tells desired, applied and live by path, and touches nothing", async () => {
    await running(DriftPolicy.REPORT);
    const applied = argvNow();
    await meddle("node", "other.mjs");
    const { drift } = await agent.until(says("DRIFTED"));
    expect(drift).toMatchObject({ policy: DriftPolicy.REPORT, leftOut: 0, note: "" });
    const [difference, ...more] = drift?.differences ?? [];
    expect(more).toEqual([]);
    expect(difference).toMatchObject({ resource: "worker", path: "argv", adopted: false });
    const listOf = (value: unknown) =>
      (
        value as { kind: { value: { values: { kind: { value: string } }[] } } }
      ).kind.value.values.map(({ kind }) => kind.value);
    expect(listOf(difference?.live)).toEqual(["node", "other.mjs"]);
    expect(listOf(difference?.applied)).toEqual(applied);
    expect(listOf(difference?.desired)).toEqual(applied);
    expect(agent.driver.orders).not.toContain("worker/rewrite");
    expect(argvNow()).toEqual(["node", "other.mjs"]);
  });

  it("says what a newer generation wants beside what was applied, while that one waits", async () => {
    await running(DriftPolicy.HOLD);
    await meddle("node", "other.mjs");
    await agent.until(says("DRIFT_HELD"));
    await offer(2n, DriftPolicy.HOLD, { resources: [{ args: ["two"] }] });
    const status = await agent.until(({ attempt }) => attempt?.reason === "DRIFT_HELD");
    const texts = JSON.stringify(status.drift?.differences[0]?.desired);
    expect(texts).toContain("two");
    expect(JSON.stringify(status.drift?.differences[0]?.applied)).not.toContain("two");
  });

  it("is seen soon where the driver hears of it, and once more after its watch has ended", async () => {
    await agent.end();
    const rings: (() => void)[] = [];
    const watch: Driver["watch"] = ({ signal }, changed) =>
      new Promise((resolve, reject) => {
        rings.push(changed);
        if (rings.length === 1) reject(new Error("the engine went away"));
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    agent = world.begin({ driver: { ...fileDriver(), watch } });
    await running(DriftPolicy.REPORT);
    await agent.until(() => rings.length === 2);
    change({ argv: ["node", "other.mjs"] });
    rings[1]?.();
    await agent.until(says("DRIFTED"));
  });

  it("leaves alone what no driver owns", async () => {
    await running(DriftPolicy.REVERT);
    change({ port: 1234 });
    await look();
    await agent.until(says("AS_COMMITTED"));
    expect(agent.statusOf()?.drift?.differences).toEqual([]);
    expect(JSON.parse(readFileSync(file(), "utf8"))).toMatchObject({ port: 1234 });
    expect(agent.driver.orders).not.toContain("worker/rewrite");
  });

  it("ends with the drift, however that went", async () => {
    await running(DriftPolicy.REPORT);
    const before = argvNow() as string[];
    await meddle("node", "other.mjs");
    await agent.until(says("DRIFTED"));
    await meddle(...before);
    const status = await agent.until(says("AS_COMMITTED"));
    expect(status.drift?.differences).toEqual([]);
  });
});

describe("the policy revert", () => {
  it("brings back what was applied, in the same copy", async () => {
    await running(DriftPolicy.REVERT);
    const before = argvNow();
    const path = file();
    await meddle("node", "other.mjs");
    await agent.until(() => agent.driver.orders.includes("worker/rewrite"));
    await agent.until(says("AS_COMMITTED"));
    expect(argvNow()).toEqual(before);
    expect(file()).toBe(path);
  });

  it("waits longer when it drifts again and again, and says so", async () => {
    await running(DriftPolicy.REVERT);
    await meddle("node", "other.mjs");
    await agent.until(() => agent.driver.orders.includes("worker/rewrite"));
    await agent.until(says("AS_COMMITTED"));
    await meddle("node", "third.mjs");
    const { drift } = await agent.until(says("DRIFTED"));
    expect(drift?.note).toMatch(
      /^worker was brought back once and has drifted again; brought back again at 20/,
    );
    expect(argvNow()).toEqual(["node", "third.mjs"]);
  });

  it("does nothing that a rule of the customer forbids, and says which", async () => {
    await agent.end();
    const consent: ConsentPort = {
      judge: ({ steps }) =>
        steps.some(({ verb }) => verb === "rewrite")
          ? { verdict: "vetoed", rule: "hands off", message: "we changed it" }
          : { verdict: "allowed", rule: "open" },
    };
    agent = world.begin({ consent });
    await running(DriftPolicy.REVERT);
    await meddle("node", "other.mjs");
    const { drift } = await agent.until(says("DRIFTED"));
    expect(drift?.note).toContain("CONSENT_VETOED");
    expect(drift?.note).toContain("hands off");
    expect(argvNow()).toEqual(["node", "other.mjs"]);
    const refused = await order(ActionKind.REVERT_DRIFT, "a1");
    expect(refused).toMatchObject({ state: ActionState.REFUSED, reason: "CONSENT_VETOED" });
  });
});

describe("the policy hold", () => {
  it("begins no attempt until a person has it brought back", async () => {
    await running(DriftPolicy.HOLD);
    await meddle("node", "other.mjs");
    await agent.until(says("DRIFT_HELD"));
    await offer(2n, DriftPolicy.HOLD);
    const held = await agent.until(({ attempt }) => attempt?.reason === "DRIFT_HELD");
    expect(held.committedGeneration?.number).toBe(1n);
    expect(held.attempt?.message).toContain("argv");
    expect(driftLines(toJson(DriftSchema, held.drift ?? fail()) as DriftJson)[0]).toMatch(
      /^drift {5}worker argv: desired \[.*, applied \["node","main.mjs"\], live \["node","other.mjs"\]$/,
    );
    expect(await order(ActionKind.REVERT_DRIFT, "a1")).toMatchObject({
      state: ActionState.DONE,
      reason: "REVERTED",
    });
    await agent.until(serves(2n));
  });

  it("begins it once a person accepts what is there", async () => {
    await running(DriftPolicy.HOLD);
    await meddle("node", "other.mjs");
    await offer(2n, DriftPolicy.HOLD);
    await agent.until(({ attempt }) => attempt?.reason === "DRIFT_HELD");
    expect(await order(ActionKind.ADOPT_DRIFT, "a1", "worker")).toMatchObject({
      reason: "ADOPTED",
    });
    await agent.until(serves(2n));
  });
});

describe("what was accepted", () => {
  it("is accepted across a restart of the agent, until it changes again", async () => {
    await running(DriftPolicy.REVERT);
    await agent.end();
    change({ argv: ["node", "other.mjs"] });
    agent = world.begin({ consent: HANDS_OFF });
    await look();
    await agent.until(says("DRIFTED"));
    expect(await order(ActionKind.ADOPT_DRIFT, "a1")).toMatchObject({ state: ActionState.DONE });
    const adopted = await agent.until(says("ADOPTED"));
    expect(adopted.conditions.find(({ type }) => type === "Drifted")?.status).toBe(
      ConditionStatus.FALSE,
    );
    expect(adopted.drift?.differences.map((each) => each.adopted)).toEqual([true]);
    await agent.end();
    agent = world.begin();
    await look();
    await agent.until(says("ADOPTED"));
    expect(agent.driver.orders).toEqual([]);
    await meddle("node", "third.mjs");
    await agent.until(() => agent.driver.orders.includes("worker/rewrite"));
  });

  it("is brought back by an order all the same", async () => {
    await running(DriftPolicy.REPORT);
    const before = argvNow();
    await meddle("node", "other.mjs");
    await order(ActionKind.ADOPT_DRIFT, "a1");
    await agent.until(says("ADOPTED"));
    expect(await order(ActionKind.REVERT_DRIFT, "a2")).toMatchObject({ reason: "REVERTED" });
    expect(argvNow()).toEqual(before);
    await agent.until(says("AS_COMMITTED"));
    await meddle("node", "other.mjs");
    await agent.until(says("DRIFTED"));
  });

  it.each([ActionKind.ADOPT_DRIFT, ActionKind.REVERT_DRIFT])(
    "order %i is refused where nothing has drifted, or there is no such resource",
    async (kind) => {
      await running(DriftPolicy.REPORT);
      expect(await order(kind, "a1")).toMatchObject({ reason: "NOTHING_DRIFTED" });
      expect(await order(kind, "a2", "db")).toMatchObject({ reason: "RESOURCE_UNKNOWN" });
    },
  );
});

/** Nothing is brought back by itself. */
const HANDS_OFF: ConsentPort = {
  judge: () => ({ verdict: "held", rule: "hands off", message: "not now" }),
};

describe("what is told", () => {
  const salt = new Uint8Array(32).fill(7);

  it("is a digest where a secret stands in it, and where it is long", () => {
    const secret = shownValue("postgres://etl:hunter2@db", "env.DSN", ["env.DSN"], salt);
    expect(secret).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
    expect(shownValue("hunter3", "env.DSN", ["env.DSN"], salt)).not.toBe(secret);
    expect(shownValue({ DSN: "hunter2" }, "env", ["env.DSN"], salt)).toMatch(/^hmac-sha256:/);
    expect(shownValue("hunter2", "env.DSN2", ["env.DSN"], salt)).toBe("hunter2");
    expect(shownValue("644", "secretFiles.dsn.mode", ["secretFiles.dsn"], salt)).toBe("644");
    expect(shownValue("x".repeat(VALUE_CHARS_MAX), "content", [], salt)).toMatch(/^sha256:/);
    expect(shownValue(64, "limits.pids", [], salt)).toBe(64);
  });

  it("names the first and counts the rest", () => {
    const of = (path: string) => ({
      ...{ resource: "worker", path, desired: 1, applied: 1, live: 2, isAdopted: false },
    });
    expect(driftText([of("a"), of("b"), of("c"), of("d")], 2)).toMatch(/^worker: a is .*; 3 more$/);
  });
});

describe("more differences than are told", () => {
  const COUNT = DIFFERENCES_MAX + 7;
  const two = { resources: [{ id: "db" }, { id: "worker" }] };
  /** Each field of `db` is changed where its program is; of `worker` one. */
  const manyOf: Driver["drift"] = (live, applied) => {
    const found = fileDriver().drift(live, applied);
    const count = found.length > 0 && live.key.resourceId === "db" ? COUNT : found.length;
    const of = (n: number) => ({ path: `env.F${n}`, applied: n, live: -n });
    return Array.from({ length: count }, (_, n) => of(n));
  };
  const meddleWith = async (id: string) => {
    const copy = world.copies().find(({ file: { resourceId } }) => resourceId === id);
    const folder = join(world.stateDir, "instances", instanceId().slice("ins_".length), "run");
    const changed = { ...copy?.file, argv: ["node", "other.mjs"] };
    writeFileSync(join(folder, copy?.handle ?? ""), JSON.stringify(changed));
    await look();
  };

  it("are cut and counted, and what is open is never hidden by what was accepted", async () => {
    await agent.end();
    agent = world.begin({ driver: { ...fileDriver(), drift: manyOf } });
    await offer(1n, DriftPolicy.HOLD, two);
    await agent.until(serves(1n));
    await meddleWith("db");
    const { drift, conditions } = await agent.until(says("DRIFT_HELD"));
    expect([drift?.differences.length, drift?.leftOut]).toEqual([DIFFERENCES_MAX, 7]);
    const told = conditions.find(({ type }) => type === "Drifted")?.message;
    expect(told).toContain(`${COUNT - 3} more`);
    expect(await order(ActionKind.ADOPT_DRIFT, "a1", "db")).toMatchObject({ reason: "ADOPTED" });
    await agent.until(says("ADOPTED"));
    await meddleWith("worker");
    const held = await agent.until(says("DRIFT_HELD"));
    expect(held.drift?.differences[0]).toMatchObject({ resource: "worker", adopted: false });
    expect(held.drift?.leftOut).toBe(8);
    await offer(2n, DriftPolicy.HOLD, { ...two, release: 1 });
    const waits = await agent.until(({ attempt }) => attempt?.reason === "DRIFT_HELD");
    expect(waits.committedGeneration?.number).toBe(1n);
  });
});

describe("what could only be brought back with a step that cannot be taken back", () => {
  it.each<[string, Partial<Step>]>([
    ["is irreversible", { class: "irreversible" }],
    ["destroys data", { destroys: ["data"] }],
  ])("and %s, is refused as an order, and left alone by the policy", async (_, grave) => {
    await agent.end();
    const inner = fileDriver();
    const revert: Driver["revert"] = (live, applied) =>
      inner.revert(live, applied).map((step) => ({ ...step, ...grave }));
    agent = world.begin({ driver: { ...inner, revert } });
    await running(DriftPolicy.REVERT);
    await meddle("node", "other.mjs");
    const { drift } = await agent.until(says("DRIFTED"));
    expect(drift?.note).toMatch(/^worker: DRIFT_IRREVERSIBLE: .*make a release that says so$/);
    const { state, reason, message } = await order(ActionKind.REVERT_DRIFT, "a1", "worker");
    expect({ state, reason }).toEqual({ state: ActionState.REFUSED, reason: "DRIFT_IRREVERSIBLE" });
    expect(message).toContain("cannot be taken back, so nobody does it unasked");
    expect(agent.driver.orders).not.toContain("worker/rewrite");
    expect(argvNow()).toEqual(["node", "other.mjs"]);
    // It may still be accepted as it is.
    expect(await order(ActionKind.ADOPT_DRIFT, "a2")).toMatchObject({ reason: "ADOPTED" });
    await agent.until(says("ADOPTED"));
  });
});

describe("a quarrel", () => {
  it("doubles its pauses up to an hour, and is over after a while of peace", () => {
    let last: Reverted | undefined;
    const pauses: number[] = [];
    let now = 0;
    for (let n = 0; n < 12; n++) {
      last = revertedAgain(last, now);
      pauses.push(last.notBefore - now);
      now = last.notBefore;
    }
    expect(pauses.slice(0, 3)).toEqual([10_000, 20_000, 40_000]);
    expect(pauses.at(-1)).toBe(3_600_000);
    expect(quarrelText("worker", last ?? fail())).toContain("12 times");
    expect(revertedAgain(last, now + QUARREL_MS_MAX).times).toBe(1);
  });

  it("is no place for what cannot be taken back", () => {
    const step = {
      ...{ resourceId: "db", kind: "k", verb: "v", input: {}, id: "db/v", summary: "" },
      when: "before-commit",
    } as const;
    expect(needsPerson([{ ...step, class: "reversible" }])).toBeUndefined();
    expect(needsPerson([{ ...step, class: "irreversible" }])).toBeDefined();
    expect(needsPerson([{ ...step, class: "reversible", destroys: ["volume x"] }])).toBeDefined();
  });
});

it("an event wakes the instances of which something is otherwise, and no others", () => {
  const live = (n: number, handle: string, fields: object) => ({
    key: { instanceId: instanceId(n), resourceId: "worker" },
    ...{ handle, digest: "d", phase: "running", outputs: {}, startedAt: 1, restarts: 0 },
    ...{ message: "", generation: { incarnation: 1n, number: 1n }, fields },
  });
  const before = [live(1, "a", { mode: "600" }), live(2, "b", {}), live(3, "c", {})];
  const now = [live(1, "a", { mode: "666" }), live(2, "b", {}), live(4, "d", {})];
  const changed = changedInstances(before as never, now as never);
  expect([...changed].sort()).toEqual([1, 3, 4].map(instanceId));
});

function fail(): never {
  throw new Error("nothing was brought back");
}
