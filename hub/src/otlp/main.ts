/**
 * The export thread: opens what agents sent, makes requests of it and waits for the collector, so that none of it
 * holds up the hub.
 */
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "@holdfast/shared/clock.ts";
import { readHeaders } from "./headers-file.ts";
import type { LogItem, MetricItem, Weighed } from "./item.ts";
import { logParts } from "./log-records.ts";
import { metricParts } from "./metric-records.ts";
import { SIGNALS, type Signal } from "./port.ts";
import { createPost } from "./post.ts";
import type { ExportStart, FromExport, ToExport } from "./protocol.ts";
import { Sender } from "./sender.ts";

function main({ settings, ca, maker }: ExportStart): void {
  const { endpoint, headersFile, requestMsMax, batchBytesMax, queueBytesMax } = settings;
  const say = (message: FromExport) => parentPort?.postMessage(message);
  const post = createPost({
    ...{ endpoint, ca, msMax: requestMsMax, clock: systemClock },
    userAgent: `holdfast-hub/${maker.version}`,
    headers: () => (headersFile === undefined ? {} : readHeaders(headersFile)),
  });
  const senders = Object.fromEntries(
    SIGNALS.map((signal) => [signal, senderOf(signal)] as const),
  ) as Record<Signal, Sender>;
  const waitingBytes = () => senders.logs.waitingBytes + senders.metrics.waitingBytes;

  function senderOf(signal: Signal): Sender {
    return new Sender({
      ...{ signal, post, batchBytesMax, queueBytesMax, clock: systemClock, random: Math.random },
      convert: ({ item }: Weighed) =>
        signal === "logs"
          ? logParts(item as LogItem, maker)
          : metricParts(item as MetricItem, maker),
      counted(outcome, records) {
        if (records === 0) return;
        say({ type: "counted", signal, outcome, records, waitingBytes: waitingBytes() });
      },
      said: (level, text) => say({ type: "note", level, text }),
    });
  }

  parentPort?.on("message", (message: ToExport) => {
    if (message.type === "put") {
      for (const waiting of message.items) senders[waiting.signal].put(waiting);
      say({ type: "taken", id: message.id, waitingBytes: waitingBytes() });
    } else {
      for (const signal of SIGNALS) senders[signal][message.type]();
    }
  });
  void Promise.all(SIGNALS.map((signal) => senders[signal].run())).then(() => parentPort?.close());
}

main(workerData as ExportStart);
