/** How long looks at the health of resources take: drivers as they are, with a stopwatch. */
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Driver } from "../drivers/driver.ts";
import type { WaitingPoint } from "./buffer.ts";

/** Resources whose last look is remembered until the window's end. */
const LOOKS_MAX = 10_000;

export class ProbeTimes {
  readonly #clock: Clock;
  readonly #lastMs = new Map<string, WaitingPoint>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  timed(driver: Driver): Driver {
    return {
      ...driver,
      health: async (live, wanted, context) => {
        const began = this.#clock.monotonic();
        const health = await driver.health(live, wanted, context);
        const { instanceId, resourceId: resource } = live.key;
        const value = this.#clock.monotonic() - began;
        const about = { instanceId, resource, name: "probe_ms", isCounter: false };
        if (this.#lastMs.size < LOOKS_MAX) {
          const timeMs = this.#clock.now();
          this.#lastMs.set(`${instanceId}/${resource}`, { ...about, timeMs, value });
        }
        return health;
      },
    };
  }

  /** The last one of each resource since this was asked before. */
  take(): readonly WaitingPoint[] {
    const points = [...this.#lastMs.values()];
    this.#lastMs.clear();
    return points;
  }
}
