/**
 * The telemetry store as the hub uses it: calls go to the thread and come back as promises. Bounded: what waits for
 * the thread is counted in bytes, and more is refused rather than queued.
 */
import { Worker } from "node:worker_threads";
import { Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { bytesOf, instancesOf } from "./append.ts";
import type { Append, TelemetryBounds, TelemetryStore } from "./port.ts";
import type { Answer, Argument, FromThread, Method, ToThread } from "./protocol.ts";

/** Of appends that the thread has not answered yet. */
export const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** Queries that the thread has not answered yet. */
const WAITING_CALLS_MAX = 10_000;

export type ThreadDeps = Readonly<{ folder: string; bounds: TelemetryBounds; log: Log }>;

type Waiting = Readonly<{
  resolve(answer: unknown): void;
  reject(error: Fault): void;
}>;
type Listener = Readonly<{ instanceIds: ReadonlySet<string>; ring: () => void }>;

export function startTelemetryThread(deps: ThreadDeps): TelemetryStore {
  return new TelemetryThread(deps);
}

class TelemetryThread implements TelemetryStore {
  readonly #log: Log;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #ended: Promise<void>;
  #calls = 0;
  #waitingBytes = 0;
  #isOver = false;

  constructor({ log, folder, bounds }: ThreadDeps) {
    this.#log = log;
    this.#worker = new Worker(new URL("./main.ts", import.meta.url), {
      workerData: { folder, bounds },
      name: "telemetry",
    });
    // Whoever uses it closes it; it does not keep a hub alive that could not start.
    this.#worker.unref();
    this.#worker.on("message", (message: FromThread) => this.#received(message));
    this.#worker.on("error", (error) => log.error({ error: String(error) }, "telemetry failed"));
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#isOver = true;
        for (const { reject } of this.#waiting.values()) reject(over());
        this.#waiting.clear();
        resolve();
      });
    });
  }

  async append(append: Append): Promise<void> {
    const bytes = bytesOf(append);
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      throw new Fault("RESOURCE_EXHAUSTED", "HUB_BUSY", "the telemetry store is behind");
    }
    this.#waitingBytes += bytes;
    try {
      await this.#call("append", append);
    } finally {
      this.#waitingBytes -= bytes;
    }
    const about = instancesOf(append);
    for (const { instanceIds, ring } of this.#listeners.get(append.vendorId) ?? []) {
      if (about.some((instanceId) => instanceIds.has(instanceId))) ring();
    }
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  size() {
    return this.#call("size", undefined);
  }

  logs(query: Argument<"logs">) {
    return this.#call("logs", query);
  }

  missing(query: Argument<"missing">) {
    return this.#call("missing", query);
  }

  health(query: Argument<"health">) {
    return this.#call("health", query);
  }

  metrics(query: Argument<"metrics">) {
    return this.#call("metrics", query);
  }

  end(vendorId: string) {
    return this.#call("end", vendorId);
  }

  listen(vendorId: string, instanceIds: ReadonlySet<string>, ring: () => void): () => void {
    const listeners = this.#listeners.get(vendorId) ?? new Set();
    this.#listeners.set(vendorId, listeners);
    const listener = { instanceIds, ring };
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(vendorId) === listeners) {
        this.#listeners.delete(vendorId);
      }
    };
  }

  async close(): Promise<void> {
    if (!this.#isOver) this.#worker.postMessage({ type: "stop" } satisfies ToThread);
    await this.#ended;
  }

  #call<M extends Method>(method: M, argument: Argument<M>): Promise<Answer<M>> {
    if (this.#isOver) return Promise.reject(over());
    if (this.#waiting.size >= WAITING_CALLS_MAX) {
      const message = "too many questions wait for the telemetry store";
      return Promise.reject(new Fault("RESOURCE_EXHAUSTED", "HUB_BUSY", message));
    }
    this.#calls += 1;
    const id = this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (answer) => resolve(answer as Answer<M>), reject });
      this.#worker.postMessage({ type: "call", id, method, argument } satisfies ToThread);
    });
  }

  #received(message: FromThread): void {
    if (message.type === "note") {
      this.#log[message.level]({ ...message.fields }, message.text);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "answer") waiting?.resolve(message.answer);
    else {
      const { code, reason, message: text } = message.failure;
      waiting?.reject(new Fault(code, reason, text));
    }
  }
}

function over(): Fault {
  return new Fault("UNAVAILABLE", "TELEMETRY_OVER", "the telemetry store is not running");
}
