/** Counts what a fleet tells, for one line. Pure but for its own numbers. */
import type { SimEvent } from "../events.ts";

export class Tally {
  readonly #agents: number;
  readonly #up = new Set<string>();
  #prepared = 0;
  #offered = 0;
  #refused = 0;
  #dropped = 0;
  #unreachable = 0;
  #records = 0;

  constructor(agents: number) {
    this.#agents = agents;
  }

  prepared(count: number): void {
    this.#prepared = count;
  }

  count(event: SimEvent): void {
    switch (event.type) {
      case "connected":
        this.#up.add(event.agent);
        return;
      case "offered":
        this.#offered += 1;
        return;
      case "refused":
        this.#refused += 1;
        return;
      case "dropped":
        this.#up.delete(event.agent);
        this.#dropped += 1;
        return;
      case "unreachable":
        this.#up.delete(event.agent);
        this.#unreachable += 1;
        return;
      case "acknowledged":
        this.#records += event.records;
        return;
    }
  }

  line(): string {
    const all = this.#agents;
    if (this.#prepared < all && this.#up.size === 0) return `prepared ${this.#prepared}/${all}`;
    return [
      `connected ${this.#up.size}/${all}`,
      `offers taken ${this.#offered}, refused ${this.#refused}`,
      `sessions dropped ${this.#dropped}, tries failed ${this.#unreachable}`,
      `usage records accepted ${this.#records}`,
    ].join("; ");
  }
}
