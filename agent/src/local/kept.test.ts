/** What is kept on this host, listed, and destroyed by whoever sits here: only after the name was typed. */
import { existsSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { ActionState } from "@holdfast/proto/holdfast/model/v1/action_pb.js";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  type AgentWorld,
  agentWorld,
  instanceId,
  type RunningAgent,
} from "../reconcile/engine.test-world.ts";
import { SOCKET_FILE } from "../store/state-directory.ts";
import { allowRemovalHere, destroyHere, shownKept } from "./commands.ts";
import { instanceDirectories } from "./directories.ts";
import { localReport } from "./report.ts";
import { type LocalServer, startLocalServer } from "./server.ts";

let world: AgentWorld;
let agent: RunningAgent;
let server: LocalServer;

beforeEach(async () => {
  world = await agentWorld();
  agent = world.begin();
  await agent.intake.offered(world.offerOf({ number: 1n }));
  await agent.until(({ committedGeneration }) => committedGeneration?.number === 1n);
  writeFileSync(rows(), "kept");
  server = await startLocalServer(join(world.stateDir, SOCKET_FILE), report, {
    async destroy(asked) {
      const { state, reason, message } = await agent.engine.destroy(asked.instanceId, asked.name);
      return { state: ActionState[state] ?? "", reason, message };
    },
    async allowRemoval({ instanceId: id }) {
      return { state: "DONE", reason: "APPROVED", message: agent.engine.allowRemoval(id) };
    },
  });
});
afterEach(async () => {
  await server.close();
  await agent.end();
  world.dispose();
});

const rows = () => join(instanceDirectories(world.stateDir, instanceId()).data, "rows");
const report = (running = true) =>
  localReport(agent.store, {
    ...{ running, isReadOnly: false, pid: 7, version: "0.1.0" },
    statuses: agent.engine.statuses().map(({ status }) => status),
    ...(running && { kept: agent.engine.kept.all() }),
  });
const destroy = (typed: string | undefined, change: object = {}) => {
  const wish = { instance: "etl-1", name: "", isConfirmed: false, ...change };
  return destroyHere(world.stateDir, report(), wish, async () => typed);
};

async function removed(): Promise<void> {
  await agent.intake.offered(world.offerOf({ number: 2n, release: 1, tombstone: true }));
  await agent.until(({ kept }) => kept.length === 1);
}

it("lists what nothing uses, also where no agent runs", async () => {
  expect(shownKept(report(), "text")).toBe("nothing is kept that nothing uses\n");
  await removed();
  const { data } = instanceDirectories(world.stateDir, instanceId());
  const [head, row] = shownKept(report(), "text").split("\n");
  expect(head).toMatch(/^INSTANCE +ID +NAME +RESOURCE +BYTES +SINCE +PLACE$/);
  expect(row).toMatch(/^etl-1 +ins_\w+ +data +- +\d+ +20\S+Z +\//);
  expect(row?.endsWith(data)).toBe(true);
  expect(JSON.parse(shownKept(report(false), "json"))).toMatchObject([
    { instance: "etl-1", name: "data", place: "" },
  ]);
});

it("destroys only what was meant", async () => {
  await expect(destroy("etl-1")).rejects.toMatchObject({ reason: "DATA_UNKNOWN" });
  await removed();
  await expect(destroy("y")).rejects.toMatchObject({ reason: "NOT_CONFIRMED" });
  await expect(destroy(undefined)).rejects.toMatchObject({ reason: "NOT_CONFIRMED" });
  await expect(destroy("etl-1", { name: "other" })).rejects.toMatchObject({
    reason: "DATA_UNKNOWN",
  });
  const notRunning = destroyHere(
    world.stateDir,
    report(false),
    { instance: "etl-1", name: "", isConfirmed: true },
    async () => "etl-1",
  );
  await expect(notRunning).rejects.toMatchObject({ reason: "AGENT_NOT_RUNNING" });
  expect(existsSync(rows())).toBe(true);
  expect(await destroy("etl-1")).toBe("destroyed: data\n");
  expect(existsSync(rows())).toBe(false);
  await agent.until(({ kept }) => kept.length === 0);
});

it("holds what takes more out of service than the budget until somebody here allows it", async () => {
  await agent.end();
  agent = world.begin({ deletionBudget: 0 });
  await agent.intake.offered(world.offerOf({ number: 2n, release: 1, tombstone: true }));
  const held = await agent.until(({ attempt }) => attempt?.reason === "DELETION_BUDGET");
  expect(held.attempt?.message).toMatch(/out of service: data; at most 0 .* allow-removal etl-1$/);
  expect(world.copies()).toHaveLength(1);
  expect(await allowRemovalHere(world.stateDir, report(), "etl-1")).toBe("1.2\n");
  await agent.until(({ removed: isRemoved }) => isRemoved);
  expect(existsSync(rows())).toBe(true);
});

it.each([
  ["not JSON", "{"],
  ["no id", JSON.stringify({ instanceId: "etl-1", name: "" })],
  ["no name", JSON.stringify({ instanceId: `ins_${"0".repeat(32)}` })],
  ["more than anybody asks", " ".repeat(5_000)],
])("refuses a request that is %s", async (_, body) => {
  const status = await new Promise<number>((resolve, reject) => {
    const socketPath = join(world.stateDir, SOCKET_FILE);
    const asked = request({ socketPath, path: "/v1/destroy", method: "POST" }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.once("error", reject);
    asked.end(body);
  });
  expect(status).toBe(400);
  expect(existsSync(rows())).toBe(true);
});
