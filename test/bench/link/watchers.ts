/**
 * Watchers of the yardsticks, thousands in one process: each has a connection of its own by the library that the agent's
 * link uses, with the same settings, and comes back by the same rule after it was lost.
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { valuesIn, watchRequest } from "./etcd-wire.ts";
import { type FromWatcher, type ToWatcher, type WatchOrder, wallMs } from "./messages.ts";

const same = (bytes: Uint8Array) => Buffer.from(bytes);
/** Streams beside the one that watches, as an agent has one for its reports. */
const SECOND: Readonly<Record<WatchOrder["server"], string | undefined>> = {
  bare: "/bare/Report",
  etcd: undefined,
};
const WATCH = { bare: "/bare/Watch", etcd: "/etcdserverpb.Watch/Watch" } as const;
/** grpc-js waits between its own tries; ours are spread already. */
const RECONNECT_MS = 200;

/** As the hub announces it: full jitter over this long, for those who were there when this one came. */
const spreadMsOf = (watcher: number) => Math.max(1_000, watcher * 2);

let stopped = false;

process.on("message", (message: ToWatcher) => {
  if (message.type === "stop") {
    stopped = true;
    process.disconnect();
    process.exit(0);
  }
  const { order } = message;
  for (let at = 0; at < order.count; at++) void keepWatching(order, order.from + at);
});
process.on("disconnect", () => process.exit(0));

async function keepWatching(to: WatchOrder, watcher: number): Promise<void> {
  const client = new Client(
    `127.0.0.1:${to.port}`,
    credentials.createSsl(Buffer.from(to.ca), Buffer.from(to.key), Buffer.from(to.certificate)),
    {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.ssl_target_name_override": "localhost",
      "grpc.initial_reconnect_backoff_ms": RECONNECT_MS,
      "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
      "grpc.enable_channelz": 0,
    },
  );
  while (!stopped) {
    await watch(client, to, watcher);
    say({ type: "down", watcher, at: wallMs() });
    await sleep(Math.random() * spreadMsOf(watcher));
  }
}

/** Until the stream ends. */
function watch(client: Client, to: WatchOrder, watcher: number): Promise<void> {
  const open = (path: string) =>
    client.makeBidiStreamRequest(path, same, same) as ClientDuplexStream<Buffer, Buffer>;
  return new Promise((resolve) => {
    const stream = open(WATCH[to.server]);
    const second = SECOND[to.server];
    let isUp = false;
    stream.on("data", (message: Buffer) => {
      const at = wallMs();
      if (!isUp) {
        isUp = true;
        say({ type: "up", watcher, at });
        if (second !== undefined) hold(open(second));
        return;
      }
      for (const value of to.server === "etcd" ? valuesIn(message) : [message]) {
        const digest = createHash("sha256").update(value).digest("base64");
        say({ type: "received", watcher, digest, at });
      }
    });
    stream.on("error", () => resolve());
    stream.on("end", () => resolve());
    stream.write(
      to.server === "etcd" ? Buffer.from(watchRequest(keyOf(watcher))) : Buffer.alloc(1),
    );
  });
}

function hold(stream: ClientDuplexStream<Buffer, Buffer>): void {
  stream.on("data", () => undefined);
  stream.on("error", () => undefined);
  stream.write(Buffer.alloc(1));
}

const keyOf = (watcher: number) => `bench/${watcher}`;

function say(message: FromWatcher): void {
  process.send?.(message);
}
