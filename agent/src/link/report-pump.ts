/**
 * Drives the reporting stream: Open, then batches as they come, with a bounded number in flight; telemetry only
 * while no batch waits. When it ends while the link is up it is opened again, after a wait that grows.
 */

import { create } from "@bufbuild/protobuf";
import { type ClientDuplexStream, Metadata } from "@grpc/grpc-js";
import {
  type Fenced,
  LinkService,
  type Opened,
  type ReportRequest,
  ReportRequestSchema,
  type ReportResponse,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { fullJitter } from "@holdfast/shared/backoff.ts";
import type { Clock, Random } from "@holdfast/shared/clock.ts";
import { causeChain } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { HubClient } from "./hub-client.ts";
import type { ReportPort, TelemetryPort } from "./port.ts";

export const BATCHES_IN_FLIGHT_MAX = 8;
/** Whatever the hub allows. */
const TELEMETRY_IN_FLIGHT_MAX = 16;
const LOOK_MS_MAX = 60_000;
/** The link is up, so the hub is there: what keeps it from taking reports may be over any moment. */
const REOPEN_BACKOFF = { baseMs: 1_000, capMs: 10_000 } as const;

export type ReportPumpDeps = Readonly<{
  report: ReportPort;
  telemetry?: TelemetryPort;
  clock: Clock;
  random: Random;
  log: Log;
}>;

type Stream = {
  readonly call: ClientDuplexStream<ReportRequest, ReportResponse>;
  ready: boolean;
  room: boolean;
  inFlight: number;
  /** Telemetry messages that were not answered, and how many the hub allows. */
  telemetryInFlight: number;
  telemetryMax: number;
};

export class ReportPump {
  readonly #deps: ReportPumpDeps;
  #client: HubClient | undefined;
  #stream: Stream | undefined;
  #failures = 0;
  #reopening = new AbortController();
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(deps: ReportPumpDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  connected(client: HubClient): void {
    this.#client = client;
    this.#failures = 0;
    this.#guarded(() => this.#open(client));
  }

  disconnected(): void {
    this.#client = undefined;
    this.#reopening.abort();
    this.#stream?.call.cancel();
    this.#stream = undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.disconnected();
    this.#deps.report.batchBell.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#deps.report.batchBell.wait(LOOK_MS_MAX);
      const stream = this.#stream;
      if (stream !== undefined) this.#guarded(() => this.#send(stream));
    }
  }

  #open(client: HubClient): void {
    const { path, requestSerialize, responseDeserialize } = grpcService(LinkService).report;
    const call = client.grpc.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      new Metadata(),
    );
    const counts = { inFlight: 0, telemetryInFlight: 0, telemetryMax: 0 };
    const stream: Stream = { call, ready: false, room: true, ...counts };
    this.#stream = stream;
    call.on("data", (response: ReportResponse) =>
      this.#guarded(() => this.#received(stream, response)),
    );
    call.on("drain", () => {
      stream.room = true;
      this.#deps.report.batchBell.ring();
    });
    call.on("error", (error) => this.#ended(stream, client.faultOf(error)));
    call.on("end", () => this.#ended(stream, undefined));
    const open = this.#deps.report.open();
    call.write(create(ReportRequestSchema, { message: { case: "open", value: open } }));
  }

  #received(stream: Stream, { message }: ReportResponse): void {
    if (this.#stream !== stream) return;
    const { report } = this.#deps;
    switch (message.case) {
      case "opened":
        this.#opened(stream, message.value);
        return;
      case "ack":
        stream.inFlight = Math.max(0, stream.inFlight - 1);
        report.acked(message.value);
        this.#send(stream);
        return;
      case "telemetryAck":
        stream.telemetryInFlight = Math.max(0, stream.telemetryInFlight - 1);
        this.#deps.telemetry?.acked(message.value);
        this.#send(stream);
        return;
      case "fenced":
        this.#fenced(stream, message.value);
        return;
      default:
        return;
    }
  }

  #opened(stream: Stream, page: Opened): void {
    if (this.#deps.report.opened(page) === "reopen") this.#reopen(stream);
    else if (!page.more) {
      stream.ready = true;
      stream.telemetryMax = Math.min(page.telemetryInFlightMax, TELEMETRY_IN_FLIGHT_MAX);
      this.#deps.telemetry?.opened();
      this.#failures = 0;
      this.#send(stream);
    }
  }

  #fenced(stream: Stream, fenced: Fenced): void {
    if (this.#deps.report.fenced(fenced) === "reopen") {
      this.#reopen(stream);
      return;
    }
    stream.call.end();
    this.#stream = undefined;
  }

  #send(stream: Stream): void {
    while (stream.ready && stream.room && stream.inFlight < BATCHES_IN_FLIGHT_MAX) {
      const batch = this.#deps.report.nextBatch();
      if (batch === undefined) {
        this.#tell(stream);
        return;
      }
      stream.inFlight += 1;
      stream.room = stream.call.write(
        create(ReportRequestSchema, { message: { case: "batch", value: batch } }),
      );
    }
  }

  /** Once no batch waits: usage never stands behind more than what is on its way already. */
  #tell(stream: Stream): void {
    while (stream.room && stream.telemetryInFlight < stream.telemetryMax) {
      const telemetry = this.#deps.telemetry?.next();
      if (telemetry === undefined) return;
      stream.telemetryInFlight += 1;
      stream.room = stream.call.write(
        create(ReportRequestSchema, { message: { case: "telemetry", value: telemetry } }),
      );
    }
  }

  #ended(stream: Stream, error: unknown): void {
    if (this.#stream !== stream) return;
    if (error !== undefined) this.#deps.log.debug({ error: causeChain(error) }, "reporting ended");
    this.#reopen(stream);
  }

  /** Ends this stream and opens another after a while, as long as the link is up. */
  #reopen(stream: Stream): void {
    stream.call.cancel();
    this.#stream = undefined;
    const { clock, random } = this.#deps;
    const stop = new AbortController();
    this.#reopening = stop;
    const pauseMs = fullJitter(REOPEN_BACKOFF, this.#failures++, random);
    void clock.sleep(pauseMs, stop.signal).then(() => {
      const client = this.#client;
      if (stop.signal.aborted || client === undefined) return;
      this.#guarded(() => this.#open(client));
    });
  }

  /** Whatever metering throws ends the stream at most, never the agent. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#deps.log.error({ error: causeChain(error) }, "reporting failed");
      if (this.#stream !== undefined) this.#reopen(this.#stream);
    }
  }
}
