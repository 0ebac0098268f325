/** Rings with the cell whose wishes may have changed. Carries no data, so a lost ring only delays. */

export type CellRef = Readonly<{ vendorId: string; cellId: string }>;

export class CellBells {
  readonly #listeners = new Set<(cell: CellRef) => void>();

  ring(cell: CellRef): void {
    for (const listener of this.#listeners) listener(cell);
  }

  /** Returns how to stop listening. */
  listen(listener: (cell: CellRef) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
