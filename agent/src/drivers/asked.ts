/**
 * When each copy was last probed, and what a readiness probe by a program said then: by it the pace of probes is
 * kept. Only in memory, since a file of it would be written each second; the next life of the agent asks at once.
 */
import type { Answer } from "./ask.ts";

export type Asked = Readonly<{
  /** The last liveness probe, ms since boot. */
  livenessUptimeMs: number;
  readiness?: Readonly<{ answer: Answer; uptimeMs: number }>;
}>;

/** Copies that are remembered; of those beyond the oldest are asked at once. */
const COPIES_MAX = 4_096;
const NEVER: Asked = { livenessUptimeMs: 0 };

export class AskedCopies {
  readonly #copies = new Map<string, Asked>();

  /** By the copy's run directory, which no other copy ever has. */
  of(runDir: string): Asked {
    return this.#copies.get(runDir) ?? NEVER;
  }

  note(runDir: string, asked: Asked): void {
    this.#copies.delete(runDir);
    this.#copies.set(runDir, asked);
    const [oldest] = this.#copies.keys();
    if (this.#copies.size > COPIES_MAX && oldest !== undefined) this.#copies.delete(oldest);
  }

  forget(runDir: string): void {
    this.#copies.delete(runDir);
  }
}
