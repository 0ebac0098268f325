/**
 * What instances are like, as samples: one when something changed, but not more than one in a second, so that what
 * flaps is told by its last state; and one again after a while, so that what is kept has a beginning.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import type { VersionedStatus } from "../store/statuses.ts";
import type { TelemetryBuffer } from "./buffer.ts";

export const HEALTH_LOOK_MS = 1_000;
const HEALTH_REPEAT_MS = 300_000;

export type HealthSamplerDeps = Readonly<{
  statuses(): readonly VersionedStatus[];
  buffer: TelemetryBuffer;
  clock: Clock;
  /** There is something to tell. */
  ring(): void;
}>;

type Told = Readonly<{ version: number; at: number }>;

export class HealthSampler {
  readonly #deps: HealthSamplerDeps;
  readonly #told = new Map<string, Told>();

  constructor(deps: HealthSamplerDeps) {
    this.#deps = deps;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.look();
      await this.#deps.clock.sleep(HEALTH_LOOK_MS, signal);
    }
  }

  look(): void {
    const { statuses, buffer, clock, ring } = this.#deps;
    const now = clock.monotonic();
    const timeMs = BigInt(clock.now());
    let isNew = false;
    for (const { version, status } of statuses()) {
      const { instanceId, conditions, resources } = status;
      const told = this.#told.get(instanceId);
      if (told?.version === version && now - told.at < HEALTH_REPEAT_MS) continue;
      this.#told.set(instanceId, { version, at: now });
      buffer.putHealth({ instanceId, timeMs, conditions, resources });
      isNew = true;
    }
    if (isNew) ring();
  }
}
