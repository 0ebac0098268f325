/** How much may pass: so much a second, and so much at once after a quiet time. Decides only. */
import type { Clock } from "./clock.ts";

export type BucketBounds = Readonly<{ perSecond: number; burst: number }>;

export class TokenBucket {
  readonly #bounds: BucketBounds;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor(bounds: BucketBounds, clock: Clock) {
    this.#bounds = bounds;
    this.#clock = clock;
    this.#tokens = bounds.burst;
    this.#at = clock.monotonic();
  }

  /** Takes so many if there are so many. */
  take(count = 1): boolean {
    this.#refill();
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  /** How many whole ones there are. */
  available(): number {
    this.#refill();
    return Math.floor(this.#tokens);
  }

  /** Whether there is one, without taking it. */
  has(): boolean {
    this.#refill();
    return this.#tokens >= 1;
  }

  #refill(): void {
    const now = this.#clock.monotonic();
    const earned = ((now - this.#at) / 1000) * this.#bounds.perSecond;
    this.#tokens = Math.min(this.#bounds.burst, this.#tokens + earned);
    this.#at = now;
  }
}
