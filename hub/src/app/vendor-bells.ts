/** Rings those who wait for events of a vendor. Carries no data. */

export class VendorBells {
  readonly #listeners = new Map<string, Set<() => void>>();

  ring(vendorId: string): void {
    for (const listener of this.#listeners.get(vendorId) ?? []) listener();
  }

  /** Returns how to stop listening. */
  listen(vendorId: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(vendorId) ?? new Set();
    this.#listeners.set(vendorId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(vendorId) === listeners) {
        this.#listeners.delete(vendorId);
      }
    };
  }
}
