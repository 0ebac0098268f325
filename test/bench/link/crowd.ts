/** Who is up and what each received, from the events of thousands in other processes. */
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 20;

export class Crowd {
  readonly size: number;
  readonly #up = new Map<string, number>();
  #dropped = 0;
  #received = new Map<string, Readonly<{ at: number; digest: string }>>();

  constructor(size: number) {
    this.size = size;
  }

  /** Sessions that were lost since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  up(who: string, at: number): void {
    this.#up.set(who, at);
  }

  down(who: string): void {
    if (this.#up.delete(who)) this.#dropped += 1;
  }

  received(who: string, at: number, digest: string): void {
    this.#received.set(who, { at, digest });
  }

  /** When the last of all came up. */
  async allUp(msMax: number): Promise<number> {
    await this.#until("are up", () => this.#up.size, msMax);
    return Math.max(...this.#up.values());
  }

  async noneUp(msMax: number): Promise<void> {
    await this.#until("are down", () => this.size - this.#up.size, msMax);
  }

  forgetReceived(): void {
    this.#received = new Map();
  }

  /** When each received what it received last; throws unless all of it differs. */
  async allReceived(msMax: number): Promise<readonly number[]> {
    await this.#until("received the change", () => this.#received.size, msMax);
    const all = [...this.#received.values()];
    const distinct = new Set(all.map(({ digest }) => digest)).size;
    if (distinct !== this.size) throw new Error(`${distinct} of ${this.size} payloads differ`);
    return all.map(({ at }) => at);
  }

  /** When this one received something, since all was forgotten. */
  async receivedBy(who: string, msMax: number): Promise<number> {
    for (const end = performance.now() + msMax; performance.now() < end; await sleep(POLL_MS)) {
      const received = this.#received.get(who);
      if (received !== undefined) return received.at;
    }
    throw new Error(`${who} did not receive the change within ${msMax} ms`);
  }

  async #until(what: string, count: () => number, msMax: number): Promise<void> {
    for (const end = performance.now() + msMax; performance.now() < end; await sleep(POLL_MS)) {
      if (count() >= this.size) return;
    }
    throw new Error(`${count()} of ${this.size} ${what} after ${msMax} ms`);
  }
}
