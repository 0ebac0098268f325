/**
 * The floor of what a server of streams can cost in Node: node:http2 behind mutual TLS 1.3 with the same ticket keys
 * before and after a restart. Each connection holds two streams that never end, as an agent's does; a change writes
 * different bytes to each.
 * usage: node --expose-gc bare-server.ts OPTIONS_FILE
 */
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { type FromServer, type ToServer, wallMs } from "./messages.ts";

export type BareOptions = Readonly<{
  ca: string;
  certificate: string;
  key: string;
  ticketKeys: string;
  port: number;
  /** Of what a change writes to each stream. */
  payloadBytes: number;
}>;

/** As the hub does it (FAN_OUT_TURN_STREAMS). */
const TURN_STREAMS = 100;

const [file = ""] = process.argv.slice(2);
const options = JSON.parse(readFileSync(file, "utf8")) as BareOptions;
const watching = new Set<ServerHttp2Stream>();
const server = createSecureServer({
  ca: options.ca,
  cert: options.certificate,
  key: options.key,
  ticketKeys: Buffer.from(options.ticketKeys, "base64"),
  minVersion: "TLSv1.3",
  requestCert: true,
  rejectUnauthorized: true,
  sessionIdContext: "bare",
});
server.on("session", (session) => session.on("error", () => session.destroy()));
server.on("stream", (stream, headers) => {
  stream.on("error", () => stream.destroy());
  stream.respond({ ":status": 200, "content-type": "application/grpc" });
  stream.resume();
  if (headers[":path"] !== "/bare/Watch") return;
  watching.add(stream);
  stream.once("close", () => watching.delete(stream));
  // The answer that says: you are up.
  stream.write(framed(Buffer.alloc(1)));
});

process.on("disconnect", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
process.on("message", (message: ToServer) => void answer(message));

async function answer(message: ToServer): Promise<void> {
  if (message.type === "change") {
    const calledAt = wallMs();
    const payloads = [...watching].map(() => framed(randomBytes(options.payloadBytes)));
    const committedAt = wallMs();
    let written = 0;
    for (const stream of watching) {
      stream.write(payloads[written]);
      if (++written % TURN_STREAMS === 0) await turn();
    }
    say({ type: "changed", calledAt, committedAt });
    return;
  }
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" } as never);
  const { user, system } = process.cpuUsage();
  const rssBytes = process.memoryUsage.rss();
  say({ type: "measured", rssBytes, cpuMs: (user + system) / 1_000, connected: watching.size });
}

/** The five bytes before each gRPC message. */
function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function say(message: FromServer): void {
  process.send?.(message);
}

server.listen({ port: options.port, host: "127.0.0.1", backlog: 4096 }, () => {
  const { port } = server.address() as AddressInfo;
  writeFileSync(file, JSON.stringify({ ...options, port }));
  say({ type: "listening", port });
});
