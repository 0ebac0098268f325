/** What a simulated agent tells beside usage: metrics and health at each window's end, by the agent's own rules; no logs. */
import type { TelemetryPort } from "@holdfast/agent/src/link/port.ts";
import type { NewRecord } from "@holdfast/agent/src/metering/records.ts";
import { TelemetryBuffer } from "@holdfast/agent/src/telemetry/buffer.ts";
import { HealthSampler, type HealthSamplerDeps } from "@holdfast/agent/src/telemetry/health.ts";
import { MetricRates, restartsOf } from "@holdfast/agent/src/telemetry/metrics.ts";
import { TelemetryReport } from "@holdfast/agent/src/telemetry/report.ts";
import type { Clock } from "@holdfast/shared/clock.ts";

export type SimTelemetryDeps = Readonly<{
  /** Names this life of the agent; no other one has it. */
  life: string;
  clock: Clock;
  statuses: HealthSamplerDeps["statuses"];
  /** There is something to tell. */
  ring(): void;
}>;

export class SimTelemetry {
  readonly report: TelemetryPort;
  readonly #deps: SimTelemetryDeps;
  readonly #buffer: TelemetryBuffer;
  readonly #rates = new MetricRates();
  readonly #health: HealthSampler;

  constructor(deps: SimTelemetryDeps) {
    this.#deps = deps;
    this.#buffer = new TelemetryBuffer(deps.life);
    this.#health = new HealthSampler({ ...deps, buffer: this.#buffer });
    this.report = new TelemetryReport({ buffer: this.#buffer, settled: () => undefined });
  }

  /** At a window's end. */
  measured(records: readonly NewRecord[]): void {
    const { clock, statuses, ring } = this.#deps;
    const restarts = restartsOf(statuses(), clock.now());
    for (const point of [...this.#rates.ofUsage(records), ...restarts]) {
      this.#buffer.putPoint(point);
    }
    this.#health.look();
    ring();
  }
}
