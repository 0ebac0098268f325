/** A queue that forgets its oldest when it is full. Bounded by count and by weight; what it forgets it hands back. */

export type RingBounds = Readonly<{ itemsMax: number; weightMax: number }>;

/** Emptied places at the front before the rest is moved up. */
const SPARE_MAX = 1_024;

export class Ring<Item> {
  readonly #bounds: RingBounds;
  readonly #weightOf: (item: Item) => number;
  #items: Item[] = [];
  #first = 0;
  #weight = 0;

  constructor(bounds: RingBounds, weightOf: (item: Item) => number) {
    this.#bounds = bounds;
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#items.length - this.#first;
  }

  /** What had to go for it, oldest first. */
  push(item: Item): readonly Item[] {
    this.#items.push(item);
    this.#weight += this.#weightOf(item);
    const gone: Item[] = [];
    while (this.#isOver()) {
      const oldest = this.shift();
      if (oldest !== undefined) gone.push(oldest);
    }
    return gone;
  }

  peek(): Item | undefined {
    return this.#items[this.#first];
  }

  shift(): Item | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#first] as Item;
    this.#first += 1;
    this.#weight -= this.#weightOf(item);
    if (this.#first >= SPARE_MAX || this.size === 0) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** The newest is kept, however heavy it is. */
  #isOver(): boolean {
    const { itemsMax, weightMax } = this.#bounds;
    return this.size > 1 && (this.size > itemsMax || this.#weight > weightMax);
  }
}
