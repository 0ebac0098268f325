/**
 * How much is let in: token buckets for the hub as a whole and for each address. Decides only; what is not
 * admitted the listener closes before any cryptography is spent on it.
 */
import type { Clock } from "@holdfast/shared/clock.ts";

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

  /** Takes one if there is one. */
  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
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

/** One bucket for each address, of the `addressesMax` that were seen last. */
export class AddressBuckets {
  readonly #bounds: BucketBounds;
  readonly #clock: Clock;
  readonly #addressesMax: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(bounds: BucketBounds, addressesMax: number, clock: Clock) {
    this.#bounds = bounds;
    this.#clock = clock;
    this.#addressesMax = addressesMax;
  }

  take(address: string): boolean {
    return this.#bucket(address).take();
  }

  has(address: string): boolean {
    return this.#buckets.get(address)?.has() ?? true;
  }

  #bucket(address: string): TokenBucket {
    const bucket = this.#buckets.get(address) ?? new TokenBucket(this.#bounds, this.#clock);
    // Put back at the end, so that the first key is always the one that was quiet longest.
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    if (this.#buckets.size > this.#addressesMax) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }
}

export type AdmissionBounds = Readonly<{
  hub: BucketBounds;
  address: BucketBounds;
  addressesMax: number;
}>;

/** Admits a handshake. The address is asked first, so that one noisy address cannot spend the hub's share. */
export class Admission {
  readonly #hub: TokenBucket;
  readonly #addresses: AddressBuckets;

  constructor(bounds: AdmissionBounds, clock: Clock) {
    this.#hub = new TokenBucket(bounds.hub, clock);
    this.#addresses = new AddressBuckets(bounds.address, bounds.addressesMax, clock);
  }

  admits(address: string): boolean {
    return this.#addresses.take(address) && this.#hub.take();
  }
}
