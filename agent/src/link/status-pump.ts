/**
 * Sends statuses: all of them on a new stream, then those whose version changed since they were written.
 * Changes that come faster than the hub reads coalesce: what is sent is what holds when there is room.
 */

import { create, toBinary } from "@bufbuild/protobuf";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import {
  type ControlRequest,
  ControlRequestSchema,
  type ControlResponse,
} from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import {
  type InstanceStatus,
  InstanceStatusSchema,
} from "@holdfast/proto/holdfast/model/v1/status_pb.js";
import { causeChain } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import type { ControlPort } from "./port.ts";

export const STATUSES_PER_REPORT_MAX = 64;
/** A report is cut here, far below the largest message. */
const REPORT_BYTES_MAX = 1024 * 1024;
/** Looks again after this even if nobody rang. */
const LOOK_MS_MAX = 60_000;

export type ControlCall = ClientDuplexStream<ControlRequest, ControlResponse>;

export class StatusPump {
  readonly #control: ControlPort;
  readonly #log: Log;
  #call: ControlCall | undefined;
  /** Aborted when the stream is given up: what waits for room on it waits for nothing. */
  #over = new AbortController();
  #sent = new Map<string, number>();
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(control: ControlPort, log: Log) {
    this.#control = control;
    this.#log = log;
    this.#running = this.#run();
  }

  /** From now on to this stream, from the beginning. */
  connected(call: ControlCall): void {
    this.#over.abort();
    this.#over = new AbortController();
    this.#call = call;
    this.#sent = new Map();
    this.#control.statusBell.ring();
  }

  disconnected(): void {
    this.#over.abort();
    this.#call = undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.disconnected();
    this.#control.statusBell.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#control.statusBell.wait(LOOK_MS_MAX);
      try {
        await this.#flush();
      } catch (error) {
        this.#log.warn({ error: causeChain(error) }, "could not send statuses");
      }
    }
  }

  async #flush(): Promise<void> {
    const call = this.#call;
    const { signal } = this.#over;
    if (call === undefined) return;
    const all = this.#control.statuses();
    const changed = all.filter(
      ({ version, status }) => this.#sent.get(status.instanceId) !== version,
    );
    for (const part of parts(changed)) {
      if (this.#call !== call) return;
      const instances = part.map(({ status }) => status);
      const room = call.write(
        create(ControlRequestSchema, { message: { case: "status", value: { instances } } }),
      );
      for (const { version, status } of part) this.#sent.set(status.instanceId, version);
      // The rest is looked up anew when there is room: it may have changed until then.
      if (!room) {
        await drained(call, signal);
        this.#control.statusBell.ring();
        return;
      }
    }
    this.#forget(all);
  }

  #forget(all: ReturnType<ControlPort["statuses"]>): void {
    const present = new Set(all.map(({ status }) => status.instanceId));
    for (const id of this.#sent.keys()) if (!present.has(id)) this.#sent.delete(id);
  }
}

type Versioned = Readonly<{ version: number; status: InstanceStatus }>;

function parts(changed: readonly Versioned[]): readonly (readonly Versioned[])[] {
  const done: Versioned[][] = [];
  let part: Versioned[] = [];
  let bytes = 0;
  for (const each of changed) {
    const size = toBinary(InstanceStatusSchema, each.status).length;
    const isFull = part.length === STATUSES_PER_REPORT_MAX || bytes + size > REPORT_BYTES_MAX;
    if (isFull && part.length > 0) {
      done.push(part);
      part = [];
      bytes = 0;
    }
    part.push(each);
    bytes += size;
  }
  return part.length > 0 ? [...done, part] : done;
}

/** Resolves when there is room again, or once the stream is given up: it may have ended before the wait began. */
function drained(call: ControlCall, over: AbortSignal): Promise<void> {
  if (over.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      over.removeEventListener("abort", done);
      resolve();
    };
    call.on("drain", done);
    over.addEventListener("abort", done, { once: true });
  });
}
