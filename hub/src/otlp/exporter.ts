/**
 * Export as the hub uses it: takes what agents told, finds out whom it is of, and hands it to the export thread.
 * Bounded: what is not in the thread's queues yet is counted in bytes, and more is dropped and counted rather than
 * waited for. The database is asked away from the link, and a database that is away costs exported telemetry alone.
 */
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { Doorbell } from "@holdfast/shared/doorbell.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import type { OtlpConfig } from "../config.ts";
import { bytesOf, instancesOf } from "../telemetry/append.ts";
import type { Append } from "../telemetry/port.ts";
import type { Maker } from "./attributes.ts";
import { readHeaders } from "./headers-file.ts";
import { hubItem, itemsOf, recordsIn, type Weighed } from "./item.ts";
import { Owners } from "./owners.ts";
import {
  type FindOwners,
  type HubMetric,
  type Outcome,
  SIGNALS,
  type Signal,
  type TelemetryExport,
} from "./port.ts";
import type { ExportStart, FromExport, ToExport } from "./protocol.ts";

/** Of what is not in the thread's queues yet. */
export const HANDED_BYTES_MAX = 16 * 1024 * 1024;
/** Of one look at the database and one message to the thread. */
const APPENDS_MAX = 256;
const BACKOFF = { baseMs: 250, capMs: 30_000 };
const IDLE_MS = 3_600_000;
/** For the thread to count what it leaves behind. */
const END_MS_MAX = 1_000;

export type ExporterDeps = Readonly<{
  settings: OtlpConfig;
  maker: Maker;
  clock: Clock;
  random: Random;
  log: Log;
  find: FindOwners;
  counted(signal: Signal, outcome: Outcome, records: number): void;
  hubMetrics(): Promise<readonly HubMetric[]>;
}>;

/** Throws FAILED_PRECONDITION for a file of headers or authorities that cannot be used. */
export function startExporter(deps: ExporterDeps): TelemetryExport {
  const { caFile, headersFile } = deps.settings;
  if (headersFile !== undefined) readHeaders(headersFile);
  return new Exporter(deps, caFile === undefined ? undefined : readAuthorities(caFile));
}

type Taken = Readonly<{ append: Append; takenMs: number; bytes: number }>;

class Exporter implements TelemetryExport {
  readonly #deps: ExporterDeps;
  readonly #worker: Worker;
  readonly #owners: Owners;
  readonly #bell: Doorbell;
  readonly #stopping = new AbortController();
  readonly #ended: Promise<void>;
  readonly #working: Promise<unknown>;
  readonly #startMs: number;
  /** Bytes of messages that the thread has not answered, by their number. */
  readonly #handed = new Map<number, number>();
  #taken: Taken[] = [];
  #handedBytes = 0;
  #queuedBytes = 0;
  #messages = 0;

  constructor(deps: ExporterDeps, ca: string | undefined) {
    const { settings, maker, log, clock } = deps;
    this.#deps = deps;
    this.#owners = new Owners(deps.find, clock);
    this.#bell = new Doorbell(clock);
    this.#startMs = clock.now();
    this.#worker = new Worker(new URL("./main.ts", import.meta.url), {
      workerData: { settings, ca, maker } satisfies ExportStart,
      name: "otlp",
    });
    this.#worker.unref();
    this.#worker.on("message", (message: FromExport) => this.#received(message));
    this.#worker.on("error", (error) => log.error({ error: String(error) }, "export failed"));
    this.#ended = new Promise((resolve) => this.#worker.on("exit", () => resolve()));
    this.#working = Promise.all([this.#hand(), this.#sample()]);
  }

  get waitingBytes(): number {
    return this.#handedBytes + this.#queuedBytes;
  }

  readonly take = (append: Append): void => {
    const bytes = bytesOf(append);
    const isStopping = this.#stopping.signal.aborted;
    if (isStopping || this.#handedBytes + bytes > HANDED_BYTES_MAX) {
      this.#dropped([append], isStopping ? "STOPPED" : "QUEUE_FULL");
      return;
    }
    this.#handedBytes += bytes;
    this.#taken.push({ append, bytes, takenMs: this.#deps.clock.now() });
    this.#bell.ring();
  };

  async close(msMax: number): Promise<void> {
    const { clock } = this.#deps;
    this.#stopping.abort();
    this.#bell.ring();
    const closed = new AbortController();
    const late = clock.sleep(msMax, closed.signal).then(() => "late" as const);
    const flushed = this.#working.then(() => {
      this.#send({ type: "stop" });
      return this.#ended;
    });
    if ((await Promise.race([flushed, late])) === "late") {
      this.#send({ type: "end" });
      await Promise.race([this.#ended, clock.sleep(END_MS_MAX, closed.signal)]);
      await this.#worker.terminate();
    }
    closed.abort();
  }

  /** Until it is stopped and nothing is left. */
  async #hand(): Promise<void> {
    for (;;) {
      const batch = this.#taken.splice(0, APPENDS_MAX);
      if (batch.length > 0) await this.#handBatch(batch);
      else if (this.#stopping.signal.aborted) return;
      else await this.#bell.wait(IDLE_MS);
    }
  }

  async #handBatch(batch: readonly Taken[]): Promise<void> {
    const { clock, random, log } = this.#deps;
    for (const [vendorId, of] of Map.groupBy(batch, ({ append }) => append.vendorId)) {
      const instanceIds = of.flatMap(({ append }) => instancesOf(append));
      for (let failures = 0; ; failures += 1) {
        try {
          this.#handOver(of, await this.#owners.of(vendorId, instanceIds));
          break;
        } catch (error) {
          log.debug({ error: causeChain(error) }, "could not look up whose telemetry this is");
          if (this.#stopping.signal.aborted) {
            this.#handedBytes -= of.reduce((sum, { bytes }) => sum + bytes, 0);
            this.#dropped(
              of.map(({ append }) => append),
              "STOPPED",
            );
            break;
          }
          await clock.sleep(fullJitter(BACKOFF, failures, random), this.#stopping.signal);
        }
      }
    }
  }

  #handOver(of: readonly Taken[], owners: Awaited<ReturnType<Owners["of"]>>): void {
    const items: Weighed[] = [];
    for (const { append, takenMs } of of) {
      const sorted = itemsOf(append, takenMs, owners);
      items.push(...sorted.items);
      for (const signal of SIGNALS) {
        this.#deps.counted(signal, "INSTANCE_UNKNOWN", sorted.unknown[signal]);
      }
    }
    this.#put(
      items,
      of.reduce((sum, { bytes }) => sum + bytes, 0),
    );
  }

  #put(items: readonly Weighed[], bytes: number): void {
    this.#messages += 1;
    this.#handed.set(this.#messages, bytes);
    this.#send({ type: "put", id: this.#messages, items });
  }

  /** The hub's own metrics, now and then and once more at the end. */
  async #sample(): Promise<void> {
    const { clock, settings, hubMetrics, log } = this.#deps;
    for (let isLast = false; !isLast; ) {
      await clock.sleep(settings.metricsMs, this.#stopping.signal);
      isLast = this.#stopping.signal.aborted;
      try {
        this.#put([hubItem(await hubMetrics(), this.#startMs, clock.now())], 0);
      } catch (error) {
        log.warn({ error: causeChain(error) }, "the hub's own metrics could not be exported");
      }
    }
  }

  #received(message: FromExport): void {
    if (message.type === "note") {
      this.#deps.log[message.level]({ endpoint: this.#deps.settings.endpoint }, message.text);
    } else if (message.type === "counted") {
      this.#queuedBytes = message.waitingBytes;
      this.#deps.counted(message.signal, message.outcome, message.records);
    } else if (message.type === "taken") {
      this.#queuedBytes = message.waitingBytes;
      this.#handedBytes -= this.#handed.get(message.id) ?? 0;
      this.#handed.delete(message.id);
    }
  }

  #dropped(appends: readonly Append[], outcome: Outcome): void {
    for (const append of appends) {
      const records = recordsIn(append);
      for (const signal of SIGNALS) this.#deps.counted(signal, outcome, records[signal]);
    }
  }

  #send(message: ToExport): void {
    this.#worker.postMessage(message);
  }
}

function readAuthorities(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable("otlp_ca_file", path, error);
  }
}
