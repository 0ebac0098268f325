/**
 * The children of this agent whose end it has not heard of yet. /proc shows a child as ended before the event that
 * says how comes; who must know how it ended waits here.
 */
import type { ChildProcess } from "node:child_process";

export type HowEnded = Readonly<{ code: number | null; signal: NodeJS.Signals | null }>;

export class Children {
  readonly #ends = new Map<number, Promise<void>>();

  /** `note` is called once, before anybody who waits goes on. A child without a pid never started and is left out. */
  add(child: ChildProcess, note: (how: HowEnded) => void): void {
    const { pid } = child;
    if (pid === undefined) return;
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        this.#ends.delete(pid);
        note({ code, signal });
        resolve();
      });
    });
    this.#ends.set(pid, ended);
  }

  /** Until the end of a child is noted; at once if it is noted or is another's child. */
  async settle(pid: number): Promise<void> {
    await this.#ends.get(pid);
  }
}
