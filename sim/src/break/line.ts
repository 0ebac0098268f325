/** The line that all connections of a proxy share: its conditions, whether it is cut, and how much it can carry. */
import type { Clock } from "@holdfast/shared/clock.ts";
import { CLEAR, type Conditions } from "./conditions.ts";

export type Direction = "up" | "down";

export class Line {
  readonly #clock: Clock;
  readonly #freeAt = { up: 0, down: 0 };
  #conditions: Conditions = CLEAR;
  /** Cuts that last; they may overlap. */
  #cuts = 0;
  #changed = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get conditions(): Conditions {
    return this.#conditions;
  }

  get isCut(): boolean {
    return this.#cuts > 0;
  }

  /** Nothing passes. */
  get isStalled(): boolean {
    return this.isCut || this.#conditions.halfOpen;
  }

  /** Resolves when the conditions or the cut change. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  set(change: Partial<Conditions>): void {
    this.#conditions = { ...this.#conditions, ...change };
    this.#tell();
  }

  /** Gives what ends this cut. */
  cut(): () => void {
    this.#cuts += 1;
    this.#tell();
    return () => {
      this.#cuts -= 1;
      this.#tell();
    };
  }

  /** When the last byte of a piece has left, monotonic ms: one piece after the other, of whatever connection. */
  sentAt(direction: Direction, bytes: number): number {
    const now = this.#clock.monotonic();
    const { bytesPerSecond } = this.#conditions;
    if (bytesPerSecond === 0) return now;
    const from = Math.max(now, this.#freeAt[direction]);
    this.#freeAt[direction] = from + (bytes / bytesPerSecond) * 1_000;
    return this.#freeAt[direction];
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
