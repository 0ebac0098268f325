/**
 * The children of this agent whose end it has not heard of yet. /proc shows a child as ended before the event that
 * says how comes; who must know how it ended waits here. Not for ever: where the event stays away, as when something
 * else in this process took the child's status, nobody will know, as of an adopted one.
 */
import type { ChildProcess } from "node:child_process";
import type { Clock } from "@holdfast/shared/clock.ts";
import { eventsHeard } from "../turn.ts";
import type { ProcessIdentity } from "./record.ts";

export type HowEnded = Readonly<{ code: number | null; signal: NodeJS.Signals | null }>;

type Patience = Readonly<{ clock: Clock; signal: AbortSignal }>;

/** The event comes within milliseconds of the end; a look at everything has three times as long. */
const END_EVENT_MS_MAX = 3_000;
/** Nobody reads why a timer is not needed any more; an abort without a reason would make an error each time. */
const OVER = "over";

export class Children {
  /** By identity: a pid may be another child's by now, and that one may run for years. */
  readonly #ends = new Map<string, Promise<void>>();

  /** `note` is called once, before anybody who waits goes on. */
  add(child: ChildProcess, process: ProcessIdentity, note: (how: HowEnded) => void): void {
    const key = keyOf(process);
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        this.#ends.delete(key);
        note({ code, signal });
        resolve();
      });
    });
    this.#ends.set(key, ended);
  }

  /** Of one that runs: its end, once that is noted; undefined if it is another's child. */
  ended(process: ProcessIdentity): Promise<void> | undefined {
    return this.#ends.get(keyOf(process));
  }

  /** Of one that has ended: until how is noted; at once if it is, if nobody will, or if it is another's child. */
  async settle(process: ProcessIdentity, { clock, signal }: Patience): Promise<void> {
    const key = keyOf(process);
    const ended = this.#ends.get(key);
    if (ended === undefined) return;
    const done = new AbortController();
    const late = clock
      .sleep(END_EVENT_MS_MAX, AbortSignal.any([done.signal, signal]))
      .then(eventsHeard);
    await Promise.race([ended, late]);
    done.abort(OVER);
    if (!signal.aborted) this.#ends.delete(key);
  }
}

function keyOf({ pid, startTicks, bootId }: ProcessIdentity): string {
  return `${pid}@${startTicks}@${bootId}`;
}
