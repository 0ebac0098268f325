/**
 * Wakes one waiter. Rings coalesce and carry no data: whoever wakes looks for itself what there is to do,
 * so a lost or doubled ring does no harm.
 */
import type { Clock } from "./clock.ts";

export class Doorbell {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Returns at once if it was rung since the last wait, else at the next ring or after `msMax`. Whether it was rung. */
  async wait(msMax: number): Promise<boolean> {
    if (!this.#rung) {
      const stop = new AbortController();
      // With a reason, since an abort without one makes an error of its own.
      this.#wake = () => stop.abort("rung");
      await this.#clock.sleep(msMax, stop.signal);
      this.#wake = undefined;
    }
    const wasRung = this.#rung;
    this.#rung = false;
    return wasRung;
  }
}
