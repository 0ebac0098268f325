/** What an import has to say about a Compose file, each with the line it is about: what cannot be carried over, and what differs. */
import type { Violation } from "@holdfast/shared/fault.ts";
import { type Document, isMap, isSeq, LineCounter, type Node, parseDocument } from "yaml";

export type ComposePath = readonly (string | number)[];

export class ComposeNotes {
  readonly refused: Violation[] = [];
  readonly differing: string[] = [];
  readonly #source: string;
  readonly #lines = new LineCounter();
  readonly #document: Document;

  /** `text` was read strictly before. */
  constructor(text: string, source: string) {
    this.#source = source;
    this.#document = parseDocument(text, { lineCounter: this.#lines });
  }

  refuse(at: ComposePath, reason: string): undefined {
    this.refused.push({ path: `${this.#place(at)}: ${at.join(".")}`, message: reason });
    return undefined;
  }

  differs(at: ComposePath, how: string): void {
    this.differing.push(`${this.#place(at)}: ${at.join(".")}: ${how}`);
  }

  /** Of the nearest that is there. */
  #place(at: ComposePath): string {
    let offset = 0;
    let node: unknown = this.#document.contents;
    for (const key of at) {
      if (isMap(node)) {
        const pair = node.items.find(
          (item) => String((item.key as Node | null)?.toString()) === key,
        );
        if (pair === undefined) break;
        offset = (pair.key as Node).range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node) && typeof key === "number") {
        node = node.items[key];
        offset = (node as Node | undefined)?.range?.[0] ?? offset;
      } else break;
    }
    return `${this.#source}:${this.#lines.linePos(offset).line}`;
  }
}
