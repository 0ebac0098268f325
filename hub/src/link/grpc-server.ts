/**
 * A grpc-js server that is fed with connections, with every limit set by hand. Where grpc-js has no option
 * the HTTP/2 server below it is set directly: the bound on headers and the budget of pings.
 */

import { constants, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { TokenBucket } from "@holdfast/shared/token-bucket.ts";
import {
  HEADER_LIST_BYTES_MAX,
  IDLE_MS_MAX,
  type LinkTiming,
  MESSAGE_BYTES_MAX,
  PING_EARN_MS,
  PINGS_BURST_MAX,
  SESSION_MEMORY_MB_MAX,
  STREAMS_PER_CONNECTION_MAX,
} from "./limits.ts";

export interface GrpcServer {
  readonly server: Server;
  inject(connection: Duplex): void;
  /** GOAWAY to all; what is left after `graceMs` is cut. */
  drain(graceMs: number): void;
  close(): void;
}

/** `options` are those that differ from the link's. */
export function createGrpcServer(
  timing: LinkTiming,
  clock: Clock,
  options: ServerOptions = {},
): GrpcServer {
  const server = new Server({
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_concurrent_streams": STREAMS_PER_CONNECTION_MAX,
    "grpc-node.max_session_memory": SESSION_MEMORY_MB_MAX,
    "grpc.keepalive_time_ms": timing.keepaliveMs,
    "grpc.keepalive_timeout_ms": timing.keepaliveTimeoutMs,
    "grpc.max_connection_idle_ms": IDLE_MS_MAX,
    "grpc.enable_channelz": 0,
    ...options,
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  limitHttp2(http2ServerOf(server), clock);
  return {
    server,
    inject: (connection) => injector.injectConnection(connection),
    drain: (graceMs) => injector.drain(graceMs),
    close: () => server.forceShutdown(),
  };
}

function limitHttp2(http2: Http2Server, clock: Clock): void {
  http2.updateSettings({
    maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX,
    maxHeaderListSize: HEADER_LIST_BYTES_MAX,
    enablePush: false,
  });
  http2.on("session", (session: ServerHttp2Session) => {
    const budget = new TokenBucket(
      { perSecond: 1000 / PING_EARN_MS, burst: PINGS_BURST_MAX },
      clock,
    );
    session.on("ping", () => {
      if (budget.take() || session.destroyed) return;
      session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"));
      session.destroy();
    });
    session.on("error", () => session.destroy());
  });
}

/**
 * grpc-js hands out no reference to the HTTP/2 server that it made for the injector; a test checks that this
 * still finds it and that peers see our limits.
 */
function http2ServerOf(server: Server): Http2Server {
  const servers: unknown = server["http2Servers"];
  const [http2] = servers instanceof Map ? servers.keys() : [];
  if (http2 === undefined) {
    throw new Fault("INTERNAL", "HTTP2_SERVER_MISSING", "grpc-js has no HTTP/2 server to limit");
  }
  return http2;
}
