/**
 * How much is let in: token buckets for the hub as a whole and for each address. Decides only; what is not
 * admitted the listener closes before any cryptography is spent on it.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import { type BucketBounds, TokenBucket } from "@holdfast/shared/token-bucket.ts";

/** One bucket for each key (an address, an agent), of the `keysMax` that were seen last. */
export class KeyedBuckets {
  readonly #bounds: BucketBounds;
  readonly #clock: Clock;
  readonly #keysMax: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(bounds: BucketBounds, keysMax: number, clock: Clock) {
    this.#bounds = bounds;
    this.#clock = clock;
    this.#keysMax = keysMax;
  }

  take(key: string): boolean {
    return this.#bucket(key).take();
  }

  has(key: string): boolean {
    return this.#buckets.get(key)?.has() ?? true;
  }

  #bucket(key: string): TokenBucket {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#bounds, this.#clock);
    // Put back at the end, so that the first key is always the one that was quiet longest.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#keysMax) {
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
  readonly #addresses: KeyedBuckets;

  constructor(bounds: AdmissionBounds, clock: Clock) {
    this.#hub = new TokenBucket(bounds.hub, clock);
    this.#addresses = new KeyedBuckets(bounds.address, bounds.addressesMax, clock);
  }

  admits(address: string): boolean {
    return this.#addresses.take(networkOf(address)) && this.#hub.take();
  }
}

/** Groups of an IPv6 address that name the network: whoever has one address has all of its /64. */
const NETWORK_GROUPS = 4;

/** What a bound per address counts by: an IPv4 address (also where it comes mapped), or an IPv6 network. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(":")) return mapped ?? address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const gap = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array.from({ length: gap }, () => "0"), ...after];
  return `${all.slice(0, NETWORK_GROUPS).join(":")}::/64`;
}
