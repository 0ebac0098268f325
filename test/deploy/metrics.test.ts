/**
 * What hub and agent show a collector: names by the conventions, labels from closed lists; docs/metrics.md, the
 * alert rules and their runbook saying the same as the code.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { prefersOpenMetrics } from "@holdfast/shared/exposition.ts";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { createMetrics as createAgentMetrics } from "../../agent/src/metrics.ts";
import { API_SERVICES } from "../../hub/src/api/routes.ts";
import { createMetrics as createHubMetrics } from "../../hub/src/metrics.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const RULES = "deploy/alerts/holdfast.rules.yaml";
/** A hub of any size shows no more: mostly its methods, each with a histogram. */
const HUB_SERIES_MAX = 2_500;
const AGENT_SERIES_MAX = 200;
/** Answers that a method can end with are 17; few of them ever occur with one method. */
const CODES = ["OK", "NOT_FOUND", "INTERNAL"];

const hub = createHubMetrics(() => ({
  version: "1.2.3",
  agentsConnected: 3,
  incarnation: 1n,
  certificateEndsAtMs: 5_000,
  pool: { inUse: 1, idle: 2, waiting: 0, max: 16 },
  telemetryWaitingBytes: 0,
  otlpWaitingBytes: 0,
  fleet: {
    ...{ agents: 3, agentsAbsent: 0, eventsWaiting: 0, oldestEventAgeMs: 0 },
    ...{ telemetryLogBytes: 0, telemetrySampleBytes: 0 },
  },
}));
const agent = createAgentMetrics(() => ({
  version: "1.2.3",
  ...{ linkUp: true, isFenced: false, certificateEndsAtMs: 5_000, storeBytes: 4_096 },
  journalRows: 0,
  instances: [
    { condition: "Ready", status: "True", count: 2 },
    { condition: "tenant-acme", status: "True", count: 2 },
  ],
  usage: { waiting: 0, oldestAgeMs: 0, series: 0 },
  telemetry: { logs: 0, metrics: 0, health: 0 },
}));

/** Whatever a caller, an agent or a hub may say, many times over. */
function abuse() {
  for (const service of API_SERVICES) {
    for (const { name } of service.methods) {
      for (const code of CODES) hub.callEnded(`${service.typeName}/${name}`, code, 1);
    }
  }
  for (let n = 0; n < 1_000; n++) {
    hub.sessionEnded(`MADE_UP_${n}`);
    hub.telemetryEnded(`MADE_UP_${n}`);
    hub.usageTaken({ fenced: `MADE_UP_${n}` });
    agent.telemetryLost("logs", `HUB_MADE_UP_${n}`, 1);
    agent.attemptEnded(`MADE_UP_${n}`);
    agent.linkLost(`MADE_UP_${n}`);
  }
}

const series = (text: string) => text.split("\n").filter((line) => /^[a-z]/.test(line)).length;
const textOf = async ({ registry }: typeof hub | typeof agent) => await registry.metrics();

/** As docs/metrics.md has them; those of the process itself have names and meanings of their own. */
function table(registry: (typeof hub)["registry"]): string {
  const own = registry.getMetricsAsArray().filter(({ name }) => name.startsWith("holdfast_"));
  const rows = own.map((metric) => {
    const { name, help, type, labelNames } = metric as unknown as Readonly<{
      name: string;
      help: string;
      type: string;
      labelNames: readonly string[];
    }>;
    const labels = labelNames.map((label) => `\`${label}\``).join(", ");
    return `| \`${name}\` | ${type} | ${labels} | ${help} |\n`;
  });
  return `| Name | Type | Labels | Meaning |\n|---|---|---|---|\n${rows.sort().join("")}`;
}

describe("labels", () => {
  it("come from closed lists, whatever is said from outside", async () => {
    abuse();
    const [ofHub, ofAgent] = await Promise.all([textOf(hub), textOf(agent)]);
    expect(series(ofHub)).toBeLessThan(HUB_SERIES_MAX);
    expect(series(ofAgent)).toBeLessThan(AGENT_SERIES_MAX);
    expect(ofHub + ofAgent).not.toMatch(/MADE_UP|acme/);
    expect(ofHub).toContain('holdfast_hub_agent_sessions_ended_total{reason="OTHER"} 1000');
    expect(ofAgent).toContain('holdfast_agent_attempts_total{outcome="OTHER"} 1000');
  });

  it("never name whom or what somebody has made", () => {
    const known = new Set([
      ...["method", "code", "kind", "outcome", "listener", "reason", "question", "verdict"],
      ...["family", "state", "version", "condition", "status", "class", "signal"],
    ]);
    const own = [hub, agent].flatMap(({ registry }) => registry.getMetricsAsArray());
    const used = own
      .filter(({ name }) => name.startsWith("holdfast_"))
      .flatMap((metric) => (metric as unknown as { labelNames: string[] }).labelNames);
    expect(used.filter((label) => !known.has(label))).toEqual([]);
  });
});

describe("the forms", () => {
  it.each([
    [undefined, false],
    ["*/*", false],
    ["text/plain;version=0.0.4", false],
    ["application/openmetrics-text", true],
    ["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.5,*/*;q=0.1", true],
    ["application/openmetrics-text;q=0.2,text/plain;q=0.5", false],
    ["application/openmetrics-text;q=0", false],
    ["application/openmetrics-text;q=many", false],
  ])("for Accept %s: OpenMetrics %s", (accept, isOpen) => {
    expect(prefersOpenMetrics(accept)).toBe(isOpen);
  });

  it("say the same", async () => {
    const open = await hub.expose("application/openmetrics-text");
    const plain = await hub.expose(undefined);
    expect(plain.contentType).toMatch(/^text\/plain; version=0.0.4/);
    expect(open.contentType).toMatch(/^application\/openmetrics-text; version=1.0.0/);
    expect(open.text.trimEnd()).toMatch(/# EOF$/);
    const samples = (text: string) => text.split("\n").filter((line) => /^holdfast_/.test(line));
    expect(samples(open.text).sort()).toEqual(samples(plain.text).sort());
  });
});

describe("the documents", () => {
  it("name every metric with its type, labels and meaning", async () => {
    const document = read("docs/metrics.md");
    const tables = document.match(/\| Name \| Type[\s\S]*?(?=\n\n|\n*$)/g) ?? [];
    expect(tables.map((each) => `${each.trimEnd()}\n`)).toEqual([
      table(hub.registry),
      table(agent.registry),
    ]);
  });

  it("have a runbook for every alert, and none for others", () => {
    const headings = [...read("docs/alerts.md").matchAll(/^### (.+)$/gm)].map(([, name]) => name);
    expect(headings.sort()).toEqual(
      rules()
        .map(({ alert }) => alert)
        .sort(),
    );
  });
});

type Rule = Readonly<{
  alert: string;
  expr: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
}>;

function rules(): readonly Rule[] {
  const { groups } = parse(read(RULES)) as { groups: readonly { rules: readonly Rule[] }[] };
  return groups.flatMap((group) => group.rules);
}

describe("the alert rules", () => {
  it("ask for metrics that hub or agent have, and for labels of theirs", () => {
    const all = [hub, agent].flatMap(({ registry }) => registry.getMetricsAsArray());
    const known = new Set(
      all.flatMap(({ name, ...rest }) =>
        (rest as unknown as { type: string }).type === "histogram"
          ? [`${name}_bucket`, `${name}_count`, `${name}_sum`]
          : [name],
      ),
    );
    for (const { alert, expr } of rules()) {
      const asked = expr.match(/\bholdfast_[a-z_]+\b/g) ?? [];
      expect({ alert, unknown: asked.filter((name) => !known.has(name)) }).toEqual({
        alert,
        unknown: [],
      });
    }
  });

  it("say how bad it is, what it is, what to do next, and where the rest stands", () => {
    for (const { alert, labels, annotations } of rules()) {
      expect(["page", "ticket"]).toContain(labels["severity"]);
      expect(Object.keys(annotations).sort()).toEqual(["description", "runbook", "summary"]);
      expect(annotations["runbook"]).toBe(`docs/alerts.md#${alert.toLowerCase()}`);
    }
  });

  it("are each seen to fire by a unit test", () => {
    const tested = read("deploy/alerts/holdfast.test.yaml");
    const unseen = rules().filter(({ alert }) => !tested.includes(`alertname="${alert}"`));
    expect(unseen).toEqual([]);
  });
});

/** Undefined where it is not installed; CONTRIBUTING.md says so, and CI installs it. */
function promtool(args: readonly string[], input = "") {
  const ran = spawnSync("promtool", args, { cwd: root, encoding: "utf8", input });
  if (ran.error === undefined) return { status: ran.status, said: ran.stdout + ran.stderr };
  expect(ran.error).toMatchObject({ code: "ENOENT" });
  expect(process.env["CI"]).toBeUndefined();
  return undefined;
}

describe("promtool, where it is installed,", () => {
  it.each([
    ["check", "rules", RULES],
    ["test", "rules", "deploy/alerts/holdfast.test.yaml"],
    ["check", "config", "deploy/prometheus/prometheus.yaml"],
  ])("accepts: %s %s %s", (...args) => {
    const ran = promtool(args);
    if (ran !== undefined) expect(ran.status, ran.said).toBe(0);
  });

  it.each([
    ["the hub", hub],
    ["the agent", agent],
  ])("finds nothing to say against the metrics of %s", async (_, metrics) => {
    abuse();
    const ran = promtool(["check", "metrics"], await textOf(metrics));
    if (ran !== undefined) expect(ran).toEqual({ status: 0, said: "" });
  });
});
