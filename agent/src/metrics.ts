/**
 * What the agent counts about itself, for a collector on the same host. Labels come from closed lists alone: no
 * instance and no tenant is named, and nothing that a hub says becomes a label.
 */
import { createServer, type Server } from "node:http";
import { addProcessMetrics, expose, oncePerTurn } from "@holdfast/shared/exposition.ts";
import type { ListenAddress } from "@holdfast/shared/settings.ts";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Seconds; a commit waits for the disk, and a busy disk takes its time. */
const STORE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const CONNECTIONS_MAX = 16;
const REQUEST_MS_MAX = 10_000;

const OTHER = "OTHER";
const OUTCOMES = ["COMMITTED", "RETURNED", "PARTIAL", "HELD", "SUPERSEDED"] as const;
const CONDITIONS = [...["Ready", "InSync", "Drifted", "Allowed", "Healthy", "Metered"]] as const;
const STATUSES = ["True", "False", "Unknown"] as const;
const CLASSES = ["logs", "metrics", "health"] as const;
/** Why telemetry is lost; what a hub may yet say for itself counts as OTHER. */
const LOSSES = [
  ...["BUFFER_FULL", "RATE_LIMITED", "LOG_CUT", "SECRETS_GONE"],
  ...["HUB_RATE_LIMITED", "HUB_BUSY", "HUB_REFUSED", OTHER],
] as const;
const LINK_ENDS = [
  ...["unreachable", "later", "refused", "expired", "fenced", "asked_to_leave"],
] as const;

/** Read at each scrape. */
export type AgentFigures = Readonly<{
  version: string;
  linkUp: boolean;
  isFenced: boolean;
  certificateEndsAtMs: number;
  /** How many instances have a condition (by its type) in a status. */
  instances: readonly Readonly<{ condition: string; status: string; count: number }>[];
  storeBytes: number;
  journalRows: number;
  usage: Readonly<{ waiting: number; oldestAgeMs: number; series: number }>;
  telemetry: Readonly<{ logs: number; metrics: number; health: number }>;
}>;

export type AgentMetrics = Readonly<{
  registry: Registry;
  attemptEnded(state: string): void;
  storeWritten(ms: number): void;
  telemetryLost(ofClass: string, reason: string, count: number): void;
  connecting(): void;
  connected(): void;
  linkLost(kind: string): void;
}>;

export function createMetrics(read: () => AgentFigures): AgentMetrics {
  const figures = oncePerTurn(read);
  const registry = new Registry();
  const gauge = (name: string, help: string, of: (figures: AgentFigures) => number) =>
    new Gauge({
      name: `holdfast_agent_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(of(figures()));
      },
    });
  gauge("link_up", "1 while the agent is connected to its hub", ({ linkUp }) => Number(linkUp));
  gauge("fenced", "1 once another agent has this one's cell", ({ isFenced }) => Number(isFenced));
  gauge(
    "certificate_not_after_timestamp_seconds",
    "When the agent's certificate ends",
    ({ certificateEndsAtMs }) => certificateEndsAtMs / 1_000,
  );
  gauge("store_bytes", "Size of the store, without its write-ahead log", (each) => each.storeBytes);
  gauge("journal_rows", "Journal entries of attempts under way", (each) => each.journalRows);
  gauge("usage_waiting_records", "Usage that the hub has not accepted yet", ({ usage }) => {
    return usage.waiting;
  });
  gauge(
    "usage_waiting_age_seconds",
    "Age of the oldest usage that the hub has not accepted; 0: none waits",
    ({ usage }) => usage.oldestAgeMs / 1_000,
  );
  gauge("usage_series", "Series of usage that the agent knows", ({ usage }) => usage.series);
  addLabelledGauges(registry, figures);
  return { registry, ...workCounters(registry), ...linkCounters(registry) };
}

function addLabelledGauges(registry: Registry, figures: () => AgentFigures): void {
  const registers = [registry];
  new Gauge({
    name: "holdfast_agent_build_info",
    help: "Always 1; the label says which version runs",
    labelNames: ["version"],
    registers,
    collect() {
      this.set({ version: figures().version }, 1);
    },
  });
  new Gauge({
    name: "holdfast_agent_instances",
    help: "Instances by condition and its status; Allowed=False are those that are held",
    labelNames: ["condition", "status"],
    registers,
    collect() {
      for (const condition of CONDITIONS) {
        for (const status of STATUSES) this.set({ condition, status }, 0);
      }
      for (const { condition, status, count } of figures().instances) {
        const isKnown = oneOf(CONDITIONS, condition) !== OTHER && oneOf(STATUSES, status) !== OTHER;
        if (isKnown) this.set({ condition, status }, count);
      }
    },
  });
  new Gauge({
    name: "holdfast_agent_telemetry_waiting",
    help: "Lines of logs, points of metrics and samples of health that wait for the hub",
    labelNames: ["class"],
    registers,
    collect() {
      const { telemetry } = figures();
      for (const each of CLASSES) this.set({ class: each }, telemetry[each]);
    },
  });
}

function workCounters(
  registry: Registry,
): Pick<AgentMetrics, "attemptEnded" | "storeWritten" | "telemetryLost"> {
  const registers = [registry];
  const attempts = new Counter({
    name: "holdfast_agent_attempts_total",
    help: "Attempts that have ended, by how; RETURNED: the release before serves",
    labelNames: ["outcome"],
    registers,
  });
  const seconds = new Histogram({
    name: "holdfast_agent_store_transaction_duration_seconds",
    help: "Time of a transaction of the store until it is on the disk",
    buckets: STORE_BUCKETS,
    registers,
  });
  const lost = new Counter({
    name: "holdfast_agent_telemetry_lost_total",
    help: "Telemetry that the hub will never have, by class and why; each loss is told to the hub",
    labelNames: ["class", "reason"],
    registers,
  });
  for (const outcome of OUTCOMES) attempts.inc({ outcome }, 0);
  for (const each of CLASSES) {
    for (const reason of LOSSES) lost.inc({ class: each, reason }, 0);
  }
  return {
    attemptEnded: (state) => attempts.inc({ outcome: oneOf(OUTCOMES, state) }),
    storeWritten: (ms) => seconds.observe(ms / 1_000),
    telemetryLost: (ofClass, reason, count) =>
      lost.inc({ class: oneOf(CLASSES, ofClass), reason: oneOf(LOSSES, reason) }, count),
  };
}

function linkCounters(
  registry: Registry,
): Pick<AgentMetrics, "connecting" | "connected" | "linkLost"> {
  const registers = [registry];
  const tries = new Counter({
    name: "holdfast_agent_link_tries_total",
    help: "Connections to the hub that were begun",
    registers,
  });
  const welcomes = new Counter({
    name: "holdfast_agent_link_connects_total",
    help: "Connections that the hub has welcomed; the first one and each reconnect",
    registers,
  });
  const ends = new Counter({
    name: "holdfast_agent_link_ends_total",
    help: "Connections that ended or never came about, by why",
    labelNames: ["reason"],
    registers,
  });
  for (const reason of LINK_ENDS) ends.inc({ reason }, 0);
  return {
    connecting: () => tries.inc(),
    connected: () => welcomes.inc(),
    linkLost: (kind) => ends.inc({ reason: oneOf(LINK_ENDS, kind) }),
  };
}

function oneOf(values: readonly string[], value: string): string {
  return values.includes(value) ? value : OTHER;
}

/** Serves `/metrics` and nothing else. Rejects if the address cannot be had. */
export async function serveMetrics(registry: Registry, at: ListenAddress): Promise<Server> {
  addProcessMetrics(registry);
  const server = createServer({ requestTimeout: REQUEST_MS_MAX }, (request, response) => {
    request.resume();
    if (request.url?.split("?", 1)[0] !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end();
      return;
    }
    expose(registry, request.headers.accept).then(
      ({ contentType, text }) => response.writeHead(200, { "content-type": contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(at.port, at.host, resolve);
  });
  return server;
}
