/**
 * Rings with the cell whose wishes may have changed. May say what was just committed there, so that nobody needs to read
 * it again; whoever missed a ring looks for itself, so a lost one only delays.
 */
import type { StoredFrame } from "../link/port.ts";

export type CellRef = Readonly<{ vendorId: string; cellId: string }>;

type Listener = (cell: CellRef, fresh: StoredFrame | undefined) => void;

export class CellBells {
  readonly #listeners = new Set<Listener>();

  ring(cell: CellRef, fresh?: StoredFrame): void {
    for (const listener of this.#listeners) listener(cell, fresh);
  }

  /** Returns how to stop listening. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
