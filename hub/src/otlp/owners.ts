/**
 * Whom instances are of, looked up in the database for many at once and remembered for a while. Bounded: the one that
 * was learnt first goes first.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import type { FindOwners, Owner } from "./port.ts";

export const OWNERS_MAX = 20_000;
/** Of one question. */
const ASKED_MAX = 1_000;
/** Names change; an instance that is not there may come. */
const KNOWN_MS_MAX = 600_000;
const ABSENT_MS_MAX = 10_000;

type Known = Readonly<{ owner: Owner | undefined; untilMs: number }>;

export class Owners {
  readonly #find: FindOwners;
  readonly #clock: Clock;
  /** By vendor and instance: an id of another vendor is another key, and is not there. */
  readonly #known = new Map<string, Known>();

  constructor(find: FindOwners, clock: Clock) {
    this.#find = find;
    this.#clock = clock;
  }

  /** By instance; absent: the vendor has no such instance. Throws what the database throws. */
  async of(vendorId: string, instanceIds: readonly string[]): Promise<ReadonlyMap<string, Owner>> {
    const ids = [...new Set(instanceIds)];
    const now = this.#clock.monotonic();
    const keyOf = (id: string) => `${vendorId}/${id}`;
    const asked = ids.filter((id) => (this.#known.get(keyOf(id))?.untilMs ?? 0) <= now);
    if (asked.length > 0) {
      const found = await this.#look(vendorId, asked);
      for (const id of asked) {
        const owner = found.get(id);
        const untilMs = now + (owner === undefined ? ABSENT_MS_MAX : KNOWN_MS_MAX);
        this.#known.delete(keyOf(id));
        this.#known.set(keyOf(id), { owner, untilMs });
      }
    }
    const owners = new Map<string, Owner>();
    for (const id of ids) {
      const owner = this.#known.get(keyOf(id))?.owner;
      if (owner !== undefined) owners.set(id, owner);
    }
    for (const key of this.#known.keys()) {
      if (this.#known.size <= OWNERS_MAX) break;
      this.#known.delete(key);
    }
    return owners;
  }

  async #look(vendorId: string, ids: readonly string[]): Promise<ReadonlyMap<string, Owner>> {
    const found = new Map<string, Owner>();
    for (let at = 0; at < ids.length; at += ASKED_MAX) {
      const owners = await this.#find(vendorId, ids.slice(at, at + ASKED_MAX));
      for (const owner of owners) found.set(owner.instanceId, owner);
    }
    return found;
  }
}
