/**
 * Tells the link which connected agents are no longer welcome, the moment that is committed. What they would still
 * write is refused by the store; this ends their streams before they try.
 */
import type { Expelled } from "../link/port.ts";

export class Outcasts {
  readonly #listeners = new Set<(expelled: Expelled) => void>();

  expel(expelled: Expelled): void {
    for (const listener of this.#listeners) listener(expelled);
  }

  /** Returns how to stop listening. */
  listen(listener: (expelled: Expelled) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
