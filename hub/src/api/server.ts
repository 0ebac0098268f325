/**
 * The API's port: gRPC, gRPC-Web and Connect over HTTP/2 and HTTP/1.1, with TLS everywhere and without on
 * loopback. All limits are set here by hand. Knows nothing of what is served.
 */
import * as http from "node:http";
import * as http2 from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import * as tls from "node:tls";
import type { connectNodeAdapter } from "@connectrpc/connect-node";
import { type Clock, systemClock } from "@holdfast/shared/clock.ts";
import { isLoopback, type ListenAddress } from "@holdfast/shared/settings.ts";
import { type Budgets, type Excess, keepCalm } from "../session-budgets.ts";
import { sniff } from "./sniff.ts";

export const SERVER_LIMITS = {
  connectionsMax: 2_000,
  streamsPerConnectionMax: 64,
  headerBytesMax: 16_384,
  headerPairsMax: 100,
  sessionMemoryMiBMax: 16,
  resetsBurstMax: 100,
  resetEarnMs: 50,
  /** Some gRPC clients measure their line by a ping for each read, so these only stop a flood. */
  pingsBurstMax: 500,
  pingEarnMs: 5,
  invalidFramesMax: 100,
  firstByteMsMax: 10_000,
  handshakeMsMax: 10_000,
  headersMsMax: 15_000,
  /** For the whole of an HTTP/1.1 request to arrive, its body included. */
  requestMsMax: 60_000,
  keepAliveMsMax: 30_000,
  /** HTTP/2 connections without a frame; longer than the sign of life of a watch (15 s). */
  idleMsMax: 120_000,
} as const;

/** As Connect's adapter gives it: the same for HTTP/1.1 and HTTP/2. */
export type RequestListener = ReturnType<typeof connectNodeAdapter>;

export type ApiCertificate = Readonly<{ key: string; certificate: string }>;

export type ApiServer = Readonly<{
  address: AddressInfo;
  /** New connections get this certificate. */
  reload(certificate: ApiCertificate): void;
  /** Takes no new connection, lets calls end until `deadlineMs`, then cuts. */
  close(deadlineMs: number): Promise<void>;
}>;

export type ApiPeers = Readonly<{
  clock: Clock;
  /** A connection was ended for what it asked too much of. */
  calmed?: (excess: Excess) => void;
}>;

/** Throws UNAVAILABLE-like errors of the socket (EADDRINUSE …) as they come. */
export async function listenApi(
  address: ListenAddress,
  certificate: ApiCertificate,
  listener: RequestListener,
  peers: ApiPeers = { clock: systemClock },
): Promise<ApiServer> {
  const plain = http1Server(listener);
  const h2 = http2Server(listener, peers);
  const secure = tlsServer(certificate, plain, h2.server);
  const mayBePlain = isLoopback(address.host);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.setNoDelay(true);
    sniff(socket, SERVER_LIMITS.firstByteMsMax, (protocol) => {
      if (protocol === "tls") secure.emit("connection", socket);
      else if (!mayBePlain) refusePlain(socket);
      else (protocol === "http2" ? h2.server : plain).emit("connection", socket);
    });
  });
  server.maxConnections = SERVER_LIMITS.connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return {
    address: server.address() as AddressInfo,
    reload: ({ key, certificate: cert }) => secure.setSecureContext({ key, cert }),
    close: (deadlineMs) => close(deadlineMs, { server, plain, sessions: h2.sessions, sockets }),
  };
}

function http1Server(listener: RequestListener): http.Server {
  const { headerBytesMax, headersMsMax, requestMsMax, keepAliveMsMax } = SERVER_LIMITS;
  const server = http.createServer(
    {
      maxHeaderSize: headerBytesMax,
      headersTimeout: headersMsMax,
      requestTimeout: requestMsMax,
      keepAliveTimeout: keepAliveMsMax,
      connectionsCheckingInterval: 5_000,
    },
    listener,
  );
  server.maxHeadersCount = SERVER_LIMITS.headerPairsMax;
  // It never listens itself, and only this event starts the check of its timeouts.
  server.emit("listening");
  return server;
}

type Http2Sessions = Set<http2.Http2Session>;

const BUDGETS: Budgets = {
  pings: { burst: SERVER_LIMITS.pingsBurstMax, earnMs: SERVER_LIMITS.pingEarnMs },
  resets: { burst: SERVER_LIMITS.resetsBurstMax, earnMs: SERVER_LIMITS.resetEarnMs },
};

function http2Server(
  listener: RequestListener,
  { clock, calmed }: ApiPeers,
): { server: http2.Http2Server; sessions: Http2Sessions } {
  const sessions: Http2Sessions = new Set();
  const server = http2.createServer({
    maxSessionMemory: SERVER_LIMITS.sessionMemoryMiBMax,
    maxHeaderListPairs: SERVER_LIMITS.headerPairsMax,
    maxSessionInvalidFrames: SERVER_LIMITS.invalidFramesMax,
    maxOutstandingPings: 10,
    maxSettings: 32,
    settings: {
      maxConcurrentStreams: SERVER_LIMITS.streamsPerConnectionMax,
      maxHeaderListSize: SERVER_LIMITS.headerBytesMax,
      initialWindowSize: 1_048_576,
      enablePush: false,
    },
  });
  server.on("request", listener);
  server.on("sessionError", () => {
    // The session is destroyed by then; a peer that breaks the protocol is not our failure.
  });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    keepCalm(session, BUDGETS, clock, calmed);
    session.setTimeout(SERVER_LIMITS.idleMsMax, () => session.close());
  });
  return { server, sessions };
}

function tlsServer(
  { key, certificate }: ApiCertificate,
  plain: http.Server,
  h2: http2.Http2Server,
): tls.Server {
  const server = tls.createServer({
    key,
    cert: certificate,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: SERVER_LIMITS.handshakeMsMax,
  });
  server.on("secureConnection", (socket) => {
    (socket.alpnProtocol === "h2" ? h2 : plain).emit("connection", socket);
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  return server;
}

const PLAIN_REFUSAL = "this port speaks TLS only; use https\n";

function refusePlain(socket: Socket): void {
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: ${PLAIN_REFUSAL.length}\r\n\r\n${PLAIN_REFUSAL}`,
  );
}

type Open = Readonly<{
  server: ReturnType<typeof createServer>;
  plain: http.Server;
  sessions: Http2Sessions;
  sockets: Set<Socket>;
}>;

async function close(
  deadlineMs: number,
  { server, plain, sessions, sockets }: Open,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const session of sessions) session.close();
  plain.closeIdleConnections();
  const cut = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, deadlineMs);
  // Idle HTTP/1.1 connections that were kept alive would hold the close until the deadline.
  const sweep = setInterval(() => plain.closeIdleConnections(), 50);
  await closed;
  clearTimeout(cut);
  clearInterval(sweep);
  // Ends the check of timeouts; that it does not listen is known.
  plain.close(() => undefined);
}
