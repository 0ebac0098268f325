/**
 * The hub's time as this agent knows it: told in each welcome, carried on by the clock that nobody sets. After a
 * start without a link the difference that was last seen is all there is.
 */
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Store } from "../store/database.ts";
import * as facts from "../store/facts.ts";

export class HubTime {
  readonly #store: Store;
  readonly #clock: Clock;
  /** What to add to the monotonic clock; undefined before the first welcome of this life. */
  #aheadOfMonotonic: number | undefined;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** `hubMs`: milliseconds since 1970, as the hub said just now. */
  told(hubMs: number): void {
    this.#aheadOfMonotonic = hubMs - this.#clock.monotonic();
    facts.putHubAhead(this.#store, hubMs - this.#clock.now());
  }

  readonly now = (): number =>
    this.#aheadOfMonotonic === undefined
      ? this.#clock.now() + facts.findHubAhead(this.#store)
      : this.#clock.monotonic() + this.#aheadOfMonotonic;
}
