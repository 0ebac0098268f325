/**
 * A grpc-js server that is fed with connections, with every limit set by hand. Where grpc-js has no option
 * the HTTP/2 server below it is set directly: the bound on headers, the budgets of pings and resets.
 */

import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import { Server, ServerCredentials, type ServerOptions } from "@grpc/grpc-js";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import { type Budgets, type Excess, keepCalm } from "../session-budgets.ts";
import {
  HEADER_LIST_BYTES_MAX,
  IDLE_MS_MAX,
  type LinkTiming,
  MESSAGE_BYTES_MAX,
  PING_EARN_MS,
  PINGS_BURST_MAX,
  RESET_EARN_MS,
  RESETS_BURST_MAX,
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

/** A connection was ended for what it asked too much of. */
export type Calmed = (excess: Excess) => void;

/** `options` are those that differ from the link's. */
export function createGrpcServer(
  timing: LinkTiming,
  clock: Clock,
  calmed: Calmed,
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
  limitHttp2(http2ServerOf(server), clock, calmed);
  return {
    server,
    inject: (connection) => injector.injectConnection(connection),
    drain: (graceMs) => injector.drain(graceMs),
    close: () => server.forceShutdown(),
  };
}

const BUDGETS: Budgets = {
  pings: { burst: PINGS_BURST_MAX, earnMs: PING_EARN_MS },
  resets: { burst: RESETS_BURST_MAX, earnMs: RESET_EARN_MS },
};

function limitHttp2(http2: Http2Server, clock: Clock, calmed: Calmed): void {
  http2.updateSettings({
    maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX,
    maxHeaderListSize: HEADER_LIST_BYTES_MAX,
    enablePush: false,
  });
  http2.on("session", (session: ServerHttp2Session) => {
    keepCalm(session, BUDGETS, clock, calmed);
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
