/**
 * What the hub counts about itself. Labels come from closed lists alone: no tenant, instance or agent is named here,
 * so that a fleet of any size costs the same, and a collector learns nothing of who is served.
 */
import {
  addProcessMetrics,
  type Exposition,
  expose,
  oncePerTurn,
} from "@holdfast/shared/exposition.ts";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Seconds; a call should end within milliseconds, the deadline is one minute. */
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];
/** Seconds; a statement is ended after five, and who waits for a connection after five as well. */
const DATABASE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128];

const OTHER = "OTHER";
const KINDS = ["read", "write", "statement"] as const;
const QUESTIONS = ["admission", "offers", "note", "news", "status", "opening", "end"] as const;
const LISTENERS = ["link", "identity"] as const;
const PORTS = ["api", ...LISTENERS] as const;
const EXCESSES = ["pings", "resets"] as const;
const HANDSHAKES = ["done", "refused", "failed"] as const;
const WRITES = ["offer", "note"] as const;
const VERDICTS = ["accepted", "duplicate", "quarantined"] as const;
/** Reasons that are told apart; whatever else there is counts as OTHER. */
const SESSION_ENDS = [
  "CLOSED",
  "SESSION_REPLACED",
  "SESSION_OLD",
  "AGENT_FENCED",
  "CERTIFICATE_EXPIRED",
  "CERTIFICATE_REVOKED",
  "IDENTITY_FROZEN",
  "IDENTITY_MISMATCH",
  "DATABASE_UNAVAILABLE",
  "DATABASE_BUSY",
  "INTERNAL",
  OTHER,
] as const;
const TELEMETRY_ENDS = [
  "kept",
  "AGENT_FENCED",
  "HUB_RATE_LIMITED",
  "HUB_BUSY",
  "STORE_FULL",
  "TELEMETRY_MALFORMED",
  OTHER,
] as const;
const EXPORT_SIGNALS = ["logs", "metrics"] as const;
const EXPORT_ENDS = [
  "sent",
  "rejected",
  "QUEUE_FULL",
  "REFUSED",
  "GAVE_UP",
  "INSTANCE_UNKNOWN",
  "DAMAGED",
  "STOPPED",
] as const;
const STREAM_ENDS = [
  "EPOCH_OLD",
  "INCARNATION_OLD",
  "EXPECTED_SEQ",
  "CHAIN_BROKEN",
  "IDENTITY_FORKED",
  OTHER,
] as const;

/** Read at each scrape. Undefined: not known now, and then not shown. */
export type HubFigures = Readonly<{
  version: string;
  agentsConnected: number;
  incarnation: bigint;
  certificateEndsAtMs: number;
  pool: Readonly<{ inUse: number; idle: number; waiting: number; max: number }>;
  telemetryWaitingBytes: number;
  /** Undefined: there is no collector to export to. */
  otlpWaitingBytes: number | undefined;
  /** As last looked at. */
  fleet: FleetFigures | undefined;
}>;

export type FleetFigures = Readonly<{
  agents: number;
  agentsAbsent: number;
  eventsWaiting: number;
  oldestEventAgeMs: number;
  telemetryLogBytes: number;
  telemetrySampleBytes: number;
}>;

type UsageCounts =
  | Readonly<{ accepted: number; duplicate: number; quarantined: number }>
  | Readonly<{ fenced: string }>;

export type HubMetrics = Readonly<{
  registry: Registry;
  /** For a request with this Accept header. */
  expose(accept: string | undefined): Promise<Exposition>;
  callEnded(method: string, code: string, durationMs: number): void;
  databaseEnded(ended: Readonly<{ kind: string; isOk: boolean; ms: number }>): void;
  batched(kind: string, size: number): void;
  usageTaken(counts: UsageCounts): void;
  handshakeEnded(listener: string, outcome: string): void;
  calmed(listener: string, excess: string): void;
  sessionOpened(): void;
  sessionEnded(reason: string): void;
  written(what: string): void;
  telemetryEnded(refused: string): void;
  exported(signal: string, outcome: string, records: number): void;
}>;

export function createMetrics(read: () => HubFigures): HubMetrics {
  const figures = oncePerTurn(read);
  const registry = new Registry();
  addProcessMetrics(registry);
  addGauges(registry, figures);
  return {
    registry,
    expose: (accept) => expose(registry, accept),
    ...apiCounters(registry),
    ...databaseCounters(registry),
    ...linkCounters(registry),
    ...intakeCounters(registry),
    ...exportCounters(registry),
  };
}

function apiCounters(registry: Registry): Pick<HubMetrics, "callEnded"> {
  const registers = [registry];
  const calls = new Counter({
    name: "holdfast_hub_api_calls_total",
    help: "Calls of the API that have ended, by method and gRPC code",
    labelNames: ["method", "code"],
    registers,
  });
  const seconds = new Histogram({
    name: "holdfast_hub_api_call_duration_seconds",
    help: "Time from the header of a call of the API to its end",
    labelNames: ["method"],
    buckets: CALL_BUCKETS,
    registers,
  });
  return {
    callEnded(method, code, durationMs) {
      calls.inc({ method, code });
      seconds.observe({ method }, durationMs / 1_000);
    },
  };
}

function databaseCounters(registry: Registry): Pick<HubMetrics, "databaseEnded"> {
  const seconds = new Histogram({
    name: "holdfast_hub_database_transaction_duration_seconds",
    help: "Time of a transaction, with its wait for a connection and its repetitions",
    labelNames: ["kind", "outcome"],
    buckets: DATABASE_BUCKETS,
    registers: [registry],
  });
  for (const kind of KINDS) {
    for (const outcome of ["ok", "failed"]) seconds.zero({ kind, outcome });
  }
  return {
    databaseEnded: ({ kind, isOk, ms }) =>
      seconds.observe({ kind, outcome: isOk ? "ok" : "failed" }, ms / 1_000),
  };
}

function calmCounter(registry: Registry): HubMetrics["calmed"] {
  const calmed = new Counter({
    name: "holdfast_hub_connections_calmed_total",
    help: "HTTP/2 connections that were ended for a flood of pings or of streams reset at once",
    labelNames: ["listener", "reason"],
    registers: [registry],
  });
  for (const listener of PORTS) {
    for (const reason of EXCESSES) calmed.inc({ listener, reason }, 0);
  }
  return (listener, reason) => calmed.inc({ listener, reason });
}

type LinkCounters =
  | "handshakeEnded"
  | "calmed"
  | "sessionOpened"
  | "sessionEnded"
  | "written"
  | "batched";

function linkCounters(registry: Registry): Pick<HubMetrics, LinkCounters> {
  const registers = [registry];
  const handshakes = new Counter({
    name: "holdfast_hub_handshakes_total",
    help: "TLS handshakes with agents: done, refused by admission, or failed",
    labelNames: ["listener", "outcome"],
    registers,
  });
  const opened = new Counter({
    name: "holdfast_hub_agent_sessions_opened_total",
    help: "Control streams of agents that were admitted",
    registers,
  });
  const ended = closedCounter(registry, SESSION_ENDS, {
    name: "holdfast_hub_agent_sessions_ended_total",
    help: "Control streams of agents that have ended; CLOSED: the agent has gone or was told to",
    label: "reason",
  });
  const writes = closedCounter(registry, WRITES, {
    name: "holdfast_hub_link_writes_total",
    help: "Offers of desired state and freshness notes that were written to agents",
    label: "kind",
  });
  const sizes = new Histogram({
    name: "holdfast_hub_link_batch_size",
    help: "Questions of agents that were answered together, by what was asked",
    labelNames: ["question"],
    buckets: BATCH_BUCKETS,
    registers,
  });
  for (const question of QUESTIONS) sizes.zero({ question });
  for (const listener of LISTENERS) {
    for (const outcome of HANDSHAKES) handshakes.inc({ listener, outcome }, 0);
  }
  return {
    handshakeEnded: (listener, outcome) => handshakes.inc({ listener, outcome }),
    calmed: calmCounter(registry),
    sessionOpened: () => opened.inc(),
    sessionEnded: (reason) => ended(reason === "" ? "CLOSED" : reason),
    written: (what) => writes(what),
    batched: (question, size) => sizes.observe({ question }, size),
  };
}

function intakeCounters(registry: Registry): Pick<HubMetrics, "usageTaken" | "telemetryEnded"> {
  const records = closedCounter(registry, VERDICTS, {
    name: "holdfast_hub_usage_records_total",
    help: "Usage records of agents by what became of them; a quarantined one is not billed",
    label: "verdict",
  });
  const fenced = closedCounter(registry, STREAM_ENDS, {
    name: "holdfast_hub_usage_streams_fenced_total",
    help: "Batches of usage that do not continue their stream, whose agent opens it anew",
    label: "reason",
  });
  const messages = closedCounter(registry, TELEMETRY_ENDS, {
    name: "holdfast_hub_telemetry_messages_total",
    help: "Messages of logs, metrics and health: kept, or refused for a reason",
    label: "outcome",
  });
  return {
    usageTaken(counts) {
      if ("fenced" in counts) return fenced(counts.fenced);
      for (const verdict of VERDICTS) records(verdict, counts[verdict]);
    },
    telemetryEnded: (refused) => messages(refused === "" ? "kept" : refused),
  };
}

function exportCounters(registry: Registry): Pick<HubMetrics, "exported"> {
  const records = new Counter({
    name: "holdfast_hub_otlp_records_total",
    help: "Log records and metric points for the OpenTelemetry collector, by what became of them",
    labelNames: ["signal", "outcome"],
    registers: [registry],
  });
  for (const signal of EXPORT_SIGNALS) {
    for (const outcome of EXPORT_ENDS) records.inc({ signal, outcome }, 0);
  }
  return { exported: (signal, outcome, count) => records.inc({ signal, outcome }, count) };
}

/** A counter with one label of a closed list, all of it shown from the start. */
function closedCounter(
  registry: Registry,
  values: readonly string[],
  { label, ...said }: Readonly<{ name: string; help: string; label: string }>,
): (value: string, by?: number) => void {
  const counter = new Counter({ ...said, labelNames: [label], registers: [registry] });
  for (const value of values) counter.inc({ [label]: value }, 0);
  return (value, by = 1) => counter.inc({ [label]: values.includes(value) ? value : OTHER }, by);
}

function addGauges(registry: Registry, figures: () => HubFigures): void {
  const gauge = (name: string, help: string, of: (figures: HubFigures) => number | undefined) =>
    new Gauge({
      name: `holdfast_hub_${name}`,
      help,
      registers: [registry],
      collect() {
        const value = of(figures());
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  gauge("agents_connected", "Agents that have a control stream to this process", (each) => {
    return each.agentsConnected;
  });
  gauge(
    "incarnation",
    "Number of the hub's life; it grows when the database was restored",
    (each) => Number(each.incarnation),
  );
  gauge(
    "certificate_not_after_timestamp_seconds",
    "When the certificate of this process ends",
    (each) => each.certificateEndsAtMs / 1_000,
  );
  gauge(
    "database_connections_max",
    "Connections that this process may have at once",
    (each) => each.pool.max,
  );
  gauge("database_waiters", "Calls that wait for a connection", (each) => each.pool.waiting);
  gauge(
    "telemetry_waiting_bytes",
    "Telemetry that is not kept yet; more than 64 MiB is refused",
    (each) => each.telemetryWaitingBytes,
  );
  gauge(
    "otlp_waiting_bytes",
    "Telemetry that the OpenTelemetry collector has not taken yet; absent: there is none",
    (each) => each.otlpWaitingBytes,
  );
  addFleetGauges(gauge);
  addLabelled(registry, figures);
}

type AddGauge = (
  name: string,
  help: string,
  of: (figures: HubFigures) => number | undefined,
) => unknown;

/** Looked at now and then; absent while the look fails. */
function addFleetGauges(gauge: AddGauge): void {
  gauge("agents", "Active agents of all cells, connected or not", ({ fleet }) => fleet?.agents);
  gauge(
    "agents_absent",
    "Active agents that have been away for more than ten minutes",
    ({ fleet }) => fleet?.agentsAbsent,
  );
  gauge(
    "events_waiting",
    "Events without a place in the feed; counted up to 10,000 a vendor",
    ({ fleet }) => fleet?.eventsWaiting,
  );
  gauge(
    "events_waiting_age_seconds",
    "How long the oldest event without a place has waited; 0: none waits",
    ({ fleet }) => fleet && fleet.oldestEventAgeMs / 1_000,
  );
}

function addLabelled(registry: Registry, figures: () => HubFigures): void {
  const registers = [registry];
  new Gauge({
    name: "holdfast_hub_build_info",
    help: "Always 1; the label says which version runs",
    labelNames: ["version"],
    registers,
    collect() {
      this.set({ version: figures().version }, 1);
    },
  });
  new Gauge({
    name: "holdfast_hub_database_connections",
    help: "Connections to the database that are in use or idle",
    labelNames: ["state"],
    registers,
    collect() {
      const { inUse, idle } = figures().pool;
      this.set({ state: "in_use" }, inUse);
      this.set({ state: "idle" }, idle);
    },
  });
  new Gauge({
    name: "holdfast_hub_telemetry_store_bytes",
    help: "Telemetry on disk, of all vendors",
    labelNames: ["family"],
    registers,
    collect() {
      const { fleet } = figures();
      this.reset();
      if (fleet === undefined) return;
      this.set({ family: "logs" }, fleet.telemetryLogBytes);
      this.set({ family: "samples" }, fleet.telemetrySampleBytes);
    },
  });
}
