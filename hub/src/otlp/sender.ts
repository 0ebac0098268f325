/**
 * Sends one signal: makes requests of what waits, one at a time, and tries again what the collector could not take.
 * Never throws; ends when it was told to stop and nothing waits, or when its time to stop is over.
 */
import { type BackoffBounds, fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import type { Weighed } from "./item.ts";
import { type Batch, type Convert, Outbox } from "./outbox.ts";
import type { Outcome, Signal } from "./port.ts";
import type { Post } from "./post.ts";
import { judge } from "./verdict.ts";

/** How long a request waits for more to go with it. */
const LINGER_MS = 1_000;
/** A request that could not be sent for this long is given up. */
export const RETRY_MS_MAX = 900_000;
const BACKOFF: BackoffBounds = { baseMs: 1_000, capMs: 60_000 };
const IDLE_MS = 3_600_000;

export type SenderDeps = Readonly<{
  signal: Signal;
  clock: Clock;
  random: Random;
  post: Post;
  convert: Convert;
  batchBytesMax: number;
  queueBytesMax: number;
  counted(outcome: Outcome, records: number): void;
  /** The collector has failed, or is back. */
  said(level: "info" | "warn", text: string): void;
}>;

export class Sender {
  readonly #deps: SenderDeps;
  readonly #outbox: Outbox;
  readonly #bell: Doorbell;
  /** Aborted when no more may be waited for. */
  readonly #stopping = new AbortController();
  /** Aborted when the time to stop is over. */
  readonly #over = new AbortController();
  #isFailing = false;

  constructor(deps: SenderDeps) {
    this.#deps = deps;
    this.#outbox = new Outbox(deps.queueBytesMax);
    this.#bell = new Doorbell(deps.clock);
  }

  get waitingBytes(): number {
    return this.#outbox.bytes;
  }

  put(waiting: Weighed): void {
    if (this.#outbox.put(waiting)) this.#bell.ring();
    else this.#deps.counted("QUEUE_FULL", waiting.weight);
  }

  /** Sends what waits without pauses; each request is tried once more at most. */
  stop(): void {
    this.#stopping.abort();
    this.#bell.ring();
  }

  /** Ends at once; what was not sent is counted. */
  end(): void {
    this.stop();
    this.#over.abort();
  }

  async run(): Promise<void> {
    const { clock, convert, counted, batchBytesMax } = this.#deps;
    while (!this.#over.signal.aborted) {
      const batch = this.#outbox.take(batchBytesMax, convert, (weight) => {
        counted("DAMAGED", weight);
      });
      if (batch !== undefined) await this.#deliver(batch);
      else if (this.#stopping.signal.aborted) return;
      else {
        await this.#bell.wait(IDLE_MS);
        await clock.sleep(LINGER_MS, this.#stopping.signal);
      }
    }
    counted("STOPPED", this.#outbox.clear());
  }

  async #deliver({ body, records }: Batch): Promise<void> {
    const { signal, clock, random, post, counted } = this.#deps;
    const began = clock.monotonic();
    for (let failures = 0; ; failures += 1) {
      const isLast = this.#stopping.signal.aborted;
      const verdict = judge(signal, await post(signal, body, this.#over.signal), clock.now());
      if (verdict.t === "done") return this.#done(records, verdict);
      if (verdict.t === "refused") {
        this.#failed(`the collector refuses ${signal}: ${verdict.message}`);
        return counted("REFUSED", records);
      }
      this.#failed(`the collector does not take ${signal}: ${verdict.message}`);
      if (isLast) return counted("STOPPED", records);
      if (clock.monotonic() - began > RETRY_MS_MAX) return counted("GAVE_UP", records);
      const pause = Math.max(verdict.afterMs, fullJitter(BACKOFF, failures, random));
      await clock.sleep(pause, this.#stopping.signal);
    }
  }

  #done(records: number, { rejected, message }: Readonly<{ rejected: number; message: string }>) {
    const { signal, counted, said } = this.#deps;
    const lost = Math.min(Math.max(0, rejected), records);
    counted("sent", records - lost);
    counted("rejected", lost);
    if (lost > 0) return this.#failed(`the collector rejects some ${signal}: ${message}`);
    if (this.#isFailing) said("info", `the collector takes ${signal} again`);
    this.#isFailing = false;
  }

  /** Said once until it goes well again. */
  #failed(text: string): void {
    if (!this.#isFailing) this.#deps.said("warn", text);
    this.#isFailing = true;
  }
}
