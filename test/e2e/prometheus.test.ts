/**
 * A real Prometheus, with the rules that ship, collects from a real hub and a real agent: all that is exposed is
 * understood, says what is so, and wakes nobody. Needs Debian's `prometheus`; CI installs it.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "../../scripts/fleet/fleet.ts";
import { layoutOf } from "../../scripts/fleet/layout.ts";
import { bringUp, takeDown } from "../../scripts/fleet/setup.ts";
import { prepareHub } from "./prepared-hub.ts";
import { until } from "./until.ts";

const root = join(import.meta.dirname, "../..");
const home = mkdtempSync(join(tmpdir(), "holdfast-e2e-prometheus-"));
const fleet = new Fleet(layoutOf(root, join(home, ".holdfast")), {
  ...process.env,
  NO_COLOR: "1",
});
const options = { portsFrom: 27_600 + (process.pid % 400) * 3, sampleWindowMs: 1_000 };
const prometheus: { at: string; child?: ChildProcess } = { at: "" };
const isInstalled = spawnSync("prometheus", ["--version"]).error === undefined;

beforeAll(async () => {
  // Elsewhere it may be absent (CONTRIBUTING.md).
  if (process.env["CI"] !== undefined) expect(isInstalled).toBe(true);
  if (!isInstalled) return;
  execFileSync(process.execPath, [join(root, "examples/etl/build.ts")]);
  await prepareHub(fleet.layout);
  await bringUp(fleet, { ...options, say: () => undefined });
  await fleet.stopAgent("hosted");
  await fleet.startAgent(
    "hosted",
    { sample_window_ms: 1_000, metrics_listen: "127.0.0.1:0" },
    () => {
      throw new Error("the agent has joined before");
    },
  );
  const agentPort = await until("the agent's metrics", () => portOf("metrics are served"));
  await startPrometheus(fleet.endpoints()?.api ?? "", `127.0.0.1:${agentPort}`);
}, 180_000);

afterAll(async () => {
  prometheus.child?.kill("SIGKILL");
  if (isInstalled) await takeDown(fleet);
  rmSync(home, { recursive: true, force: true });
}, 60_000);

/** From the line of the agent's log that says so. */
function portOf(said: string): number | undefined {
  const lines = readFileSync(fleet.layout.agent("hosted").log, "utf8").split("\n");
  const line = lines.findLast((each) => each.includes(said));
  return line === undefined ? undefined : (JSON.parse(line) as { at: { port: number } }).at.port;
}

/** With the scrape configuration that ships, but for its targets and its pace. */
async function startPrometheus(hub: string, agent: string): Promise<void> {
  const text = readFileSync(join(root, "deploy/prometheus/prometheus.yaml"), "utf8")
    .replace("/var/lib/holdfast-hub/ca.pem", fleet.layout.hub.ca)
    .replace("../alerts/", `${join(root, "deploy/alerts")}/`)
    .replaceAll("hub.example.com:7400", hub)
    .replaceAll("127.0.0.1:7409", agent)
    .replaceAll(": 15s", ": 1s");
  const file = join(home, "prometheus.yaml");
  writeFileSync(file, text);
  prometheus.at = `127.0.0.1:${await freePort()}`;
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(home, "tsdb")}`,
    `--web.listen-address=${prometheus.at}`,
  ];
  prometheus.child = spawn("prometheus", args, { stdio: "ignore" });
  await until("Prometheus", async () => (await fetch(`http://${prometheus.at}/-/ready`)).ok);
}

/** Prometheus takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function asked<T>(path: string): Promise<T> {
  const answer = await fetch(`http://${prometheus.at}/api/v1/${path}`);
  return ((await answer.json()) as { data: T }).data;
}

async function value(query: string): Promise<number | undefined> {
  const path = `query?query=${encodeURIComponent(query)}`;
  const { result } = await asked<{ result: readonly { value: readonly [number, string] }[] }>(path);
  return result[0] === undefined ? undefined : Number(result[0].value[1]);
}

type Target = Readonly<{ labels: { job: string }; health: string; lastError: string }>;

type Group = Readonly<{ rules: readonly Readonly<{ health: string }>[] }>;

describe("a Prometheus, where it is installed,", () => {
  it("understands all that hub and agent expose", async () => {
    if (!isInstalled) return;
    const targets = await until("both targets", async () => {
      const { activeTargets } = await asked<{ activeTargets: readonly Target[] }>("targets");
      const isAsked = activeTargets.every(({ health }) => health !== "unknown");
      return activeTargets.length === 2 && isAsked && activeTargets;
    });
    const said = targets.map(({ labels, health, lastError }) => [labels.job, health, lastError]);
    expect(said.sort()).toEqual([
      ["holdfast-agent", "up", ""],
      ["holdfast-hub", "up", ""],
    ]);
  });

  it.each([
    ["max(holdfast_hub_agents) == 2"],
    ["holdfast_hub_agents_connected == 2"],
    ["holdfast_hub_agents_absent == 0"],
    ["holdfast_hub_incarnation == 1"],
    ["holdfast_hub_events_waiting_age_seconds < 30"],
    ["holdfast_hub_certificate_not_after_timestamp_seconds - time() > 86400 * 80"],
    ['holdfast_hub_usage_records_total{verdict="accepted"} > 0'],
    ['holdfast_hub_telemetry_messages_total{outcome="kept"} > 0'],
    ['holdfast_hub_telemetry_store_bytes{family="samples"} > 0'],
    ["holdfast_hub_agent_sessions_opened_total >= 3"],
    ['sum(holdfast_hub_agent_sessions_ended_total{reason="CLOSED"}) >= 1'],
    ['holdfast_hub_handshakes_total{listener="identity",outcome="done"} >= 2'],
    ['holdfast_hub_link_writes_total{kind="offer"} >= 2'],
    ['holdfast_hub_link_writes_total{kind="note"} >= 3'],
    ['holdfast_hub_link_batch_size_count{question="admission"} >= 3'],
    ["holdfast_hub_database_connections_max == 16"],
    ['holdfast_hub_database_transaction_duration_seconds_count{kind="statement",outcome="ok"} > 0'],
    ['sum(holdfast_hub_api_calls_total{code="OK"}) > 10'],
    ["holdfast_agent_link_up == 1"],
    ["holdfast_agent_link_connects_total == 1"],
    ['holdfast_agent_instances{condition="Ready",status="True"} == 1'],
    ["holdfast_agent_usage_series > 0"],
    ["holdfast_agent_usage_waiting_age_seconds < 60"],
    ["holdfast_agent_certificate_not_after_timestamp_seconds - time() > 3600 * 12"],
    ["holdfast_agent_store_transaction_duration_seconds_count > 0"],
    ["holdfast_agent_store_bytes > 0"],
  ])("finds %s", async (query) => {
    if (!isInstalled) return;
    await until(query, async () => (await value(query)) !== undefined);
  });

  it("counts an attempt that commits at the agent", async () => {
    if (!isInstalled) return;
    const path = fleet.layout.manifests;
    await fleet.cli(["apply", "-f", join(path, "etl-1.1.0.yaml"), "--wait"]);
    const query = 'holdfast_agent_attempts_total{outcome="COMMITTED"} == 1';
    await until(query, async () => (await value(query)) !== undefined);
  });

  it("has the rules that ship, and a fleet that is well wakes nobody", async () => {
    if (!isInstalled) return;
    const healths = await until("a round of all rules", async () => {
      const { groups } = await asked<Readonly<{ groups: readonly Group[] }>>("rules");
      const all = groups.flatMap(({ rules }) => rules).map(({ health }) => health);
      return !all.includes("unknown") && all;
    });
    expect(healths.length).toBeGreaterThan(20);
    expect(new Set(healths)).toEqual(new Set(["ok"]));
    const { alerts } = await asked<{ alerts: readonly { state: string }[] }>("alerts");
    expect(alerts.filter(({ state }) => state === "firing")).toEqual([]);
  });
});
