/**
 * What waits to be sent of one signal, and how much of it makes a request. Bounded in bytes: what comes while it is
 * full is refused, as in a collector's own queues, so that what waits keeps its order. Decides only.
 */
import type { Weighed } from "./item.ts";
import type { Part } from "./log-records.ts";

/** Undefined: the item cannot be read. */
export type Convert = (waiting: Weighed) => readonly Part[] | undefined;

export type Batch = Readonly<{ body: Uint8Array; records: number }>;

export class Outbox {
  readonly #bytesMax: number;
  #items: Weighed[] = [];
  /** Of the first item that is still there: taking it away one by one would move all the others. */
  #first = 0;
  /** Of an item that was opened and did not fit. */
  #left: Part[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes + sum(this.#left.map((part) => part.bytes.length));
  }

  /** False: it is full. */
  put(waiting: Weighed): boolean {
    if (this.bytes + waiting.bytes > this.#bytesMax) return false;
    this.#items.push(waiting);
    this.#bytes += waiting.bytes;
    return true;
  }

  /** The next request of at most `bytesMax`, but of one part at least. `damaged` hears what could not be read. */
  take(bytesMax: number, convert: Convert, damaged: (weight: number) => void): Batch | undefined {
    const parts: Part[] = [];
    let bytes = 0;
    for (;;) {
      if (this.#left.length === 0 && !this.#open(convert, damaged)) break;
      const [next] = this.#left;
      if (next === undefined) continue;
      if (parts.length > 0 && bytes + next.bytes.length > bytesMax) break;
      this.#left.shift();
      parts.push(next);
      bytes += next.bytes.length;
    }
    if (parts.length === 0) return undefined;
    return {
      body: Buffer.concat(parts.map((part) => part.bytes)),
      records: sum(parts.map(({ records }) => records)),
    };
  }

  /** Empties it, and gives how many records were in it. */
  clear(): number {
    const records = sum(this.#left.map((part) => part.records));
    const weights = sum(this.#items.slice(this.#first).map(({ weight }) => weight));
    [this.#items, this.#left, this.#first] = [[], [], 0];
    this.#bytes = 0;
    return records + weights;
  }

  /** False: there is nothing to open. */
  #open(convert: Convert, damaged: (weight: number) => void): boolean {
    const waiting = this.#items[this.#first];
    if (waiting === undefined) return false;
    this.#first += 1;
    if (this.#first >= this.#items.length / 2) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    this.#bytes -= waiting.bytes;
    const parts = convert(waiting);
    if (parts === undefined) damaged(waiting.weight);
    else this.#left = [...parts];
    return true;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
