/**
 * Names under which a connection keeps its plans. Planning a statement over tables behind the wall takes longer than
 * running it: every table brings its policy along. A pooler that hands connections from one transaction to
 * the next must know named statements, so who opens the database says whether there are any.
 */
import { createHash } from "node:crypto";

/**
 * Of one hub. The program has about 200 texts; lists with filters make more of them. The plans of one connection take
 * up to 100 KiB each. A text beyond this number is planned each time.
 */
export const STATEMENT_NAMES_MAX = 400;
/** PostgreSQL cuts names at 63 bytes. */
const NAME_CHARS = 32;

export class StatementNames {
  readonly #names = new Map<string, string>();
  #edition = 0;

  /** The name of this text; undefined when there are too many. */
  of(sql: string): string | undefined {
    const known = this.#names.get(sql);
    if (known !== undefined || this.#names.size >= STATEMENT_NAMES_MAX) return known;
    const hash = createHash("sha256").update(`${this.#edition}\n${sql}`).digest("hex");
    const name = hash.slice(0, NAME_CHARS);
    this.#names.set(sql, name);
    return name;
  }

  /** A migration changed what the texts give: all connections are to plan them anew, under other names. */
  renew(): void {
    this.#edition += 1;
    this.#names.clear();
  }
}
