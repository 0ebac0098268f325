/** The agent's telemetry as one part: what is sampled, what waits, and what the link hands on. */
import { join } from "node:path";
import { TelemetryClass } from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { Driver, DriverContext, DriverReading } from "../drivers/driver.ts";
import type { TelemetryPort } from "../link/port.ts";
import type { NewRecord } from "../metering/records.ts";
import type { VersionedStatus } from "../store/statuses.ts";
import { BUFFER_BOUNDS, TelemetryBuffer } from "./buffer.ts";
import { readCursors } from "./cursors.ts";
import { HealthSampler } from "./health.ts";
import { LogShipper } from "./log-shipper.ts";
import { MetricRates, restartsOf } from "./metrics.ts";
import { ProbeTimes } from "./probes.ts";
import { TelemetryReport } from "./report.ts";

const CURSORS_FILE = "telemetry.json";

export type TelemetryDeps = Readonly<{
  stateDir: string;
  context: DriverContext;
  clock: Clock;
  log: Log;
  /** Names this life of the agent; no other one has it. */
  life: string;
  /** Whether the workloads' output may leave this host. */
  shipsLogs: boolean;
  ring(): void;
  /** Hears of what the hub will never have. */
  lost(ofClass: string, reason: string, count: number): void;
}>;

export class AgentTelemetry {
  readonly #deps: TelemetryDeps;
  readonly #buffer: TelemetryBuffer;
  readonly #rates = new MetricRates();
  readonly #probes: ProbeTimes;
  #shipper: LogShipper | undefined;
  readonly report: TelemetryPort;

  constructor(deps: TelemetryDeps) {
    this.#deps = deps;
    this.#buffer = new TelemetryBuffer(deps.life, BUFFER_BOUNDS, (loss) =>
      deps.lost(TelemetryClass[loss.class].toLowerCase(), loss.reason, loss.count),
    );
    this.#probes = new ProbeTimes(deps.clock);
    this.report = new TelemetryReport({
      buffer: this.#buffer,
      settled: (lines) => this.#shipper?.settled(lines),
    });
  }

  /** What waits for the hub, by class. */
  get waiting() {
    return this.#buffer.waiting;
  }

  /** The same driver, whose health is timed. */
  timed(driver: Driver): Driver {
    return this.#probes.timed(driver);
  }

  /** Until the signal. */
  async run(
    drivers: readonly Driver[],
    statuses: () => readonly VersionedStatus[],
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, ring, shipsLogs, context, log, stateDir } = this.#deps;
    const buffer = this.#buffer;
    const health = new HealthSampler({ statuses, buffer, clock, ring }).run(signal);
    if (shipsLogs) {
      const cursorsFile = join(stateDir, CURSORS_FILE);
      this.#shipper = new LogShipper({
        ...{ drivers, context, buffer, clock, log, ring },
        ...{ cursorsFile, cursors: readCursors(cursorsFile) },
      });
    }
    await Promise.all([health, this.#shipper?.run(signal)]);
  }

  /** At a window's end. */
  measured(readings: readonly DriverReading[], statuses: readonly VersionedStatus[]): void {
    const restarts = restartsOf(statuses, this.#deps.clock.now());
    for (const point of [
      ...this.#rates.ofReadings(readings),
      ...restarts,
      ...this.#probes.take(),
    ]) {
      this.#buffer.putPoint(point);
    }
    this.#deps.ring();
  }

  used(records: readonly NewRecord[]): void {
    for (const point of this.#rates.ofUsage(records)) this.#buffer.putPoint(point);
  }
}
