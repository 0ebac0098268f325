/** What the hub counts about itself, as Prometheus text. Labels are bounded: methods and codes come from closed lists. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** Seconds; a call should end within milliseconds, the deadline is one minute. */
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

export type HubMetrics = Readonly<{
  registry: Registry;
  callEnded(method: string, code: string, durationMs: number): void;
  sessionsChanged(active: number): void;
}>;

export function createMetrics(): HubMetrics {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  collectDefaultMetrics({ register: registry, prefix: "holdfast_hub_" });
  const registers = [registry];
  const calls = new Counter({
    name: "holdfast_hub_api_calls",
    help: "Calls of the API that have ended",
    labelNames: ["method", "code"],
    registers,
  });
  const seconds = new Histogram({
    name: "holdfast_hub_api_call_duration_seconds",
    help: "Time from the header of a call to its end",
    labelNames: ["method"],
    buckets: CALL_BUCKETS,
    registers,
  });
  const sessions = new Gauge({
    name: "holdfast_hub_agent_sessions",
    help: "Agents that have a control stream to this process",
    registers,
  });
  return {
    registry,
    callEnded(method, code, durationMs) {
      calls.inc({ method, code });
      seconds.observe({ method }, durationMs / 1_000);
    },
    sessionsChanged: (active) => sessions.set(active),
  };
}
