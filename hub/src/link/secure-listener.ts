/**
 * A TCP listener with our own TLS in front of grpc-js: TLS 1.3 only, client certificates, ticket keys that
 * outlive the process, and admission before the handshake. grpc-js gets finished connections only.
 */
import { createServer, type Server, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import type { Log } from "@holdfast/shared/log.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import type { Admission } from "./admission.ts";
import { CONNECTIONS_MAX, HANDSHAKE_MS_MAX, TICKET_SECONDS_MAX } from "./limits.ts";

/** Certificate and key as PEM; 48 bytes of ticket keys, shared by all replicas and kept in the secret store. */
export type ListenerTls = Readonly<{
  certificate: string;
  privateKey: string;
  ticketKeys: Uint8Array;
}>;

export type SecureListenerDeps = Readonly<{
  host: string;
  port: number;
  log: Log;
  admission: Admission;
  /** Each connection ends in one of these, but for those that go by themselves before. */
  handshakeEnded(outcome: "done" | "refused" | "failed"): void;
  /** Asked at start and at reload(). */
  tls: () => ListenerTls;
  /** DER of the roots that client certificates are checked against. Asked at start and at reload(). */
  clientRoots: () => readonly Uint8Array[];
  /** True: TLS itself refuses a client without a good certificate. */
  requireClientCertificate: boolean;
  /** Takes a connection whose handshake is done. */
  connected: (socket: TLSSocket) => void;
}>;

export interface SecureListener {
  readonly port: number;
  /** Serves new connections with what tls() and clientRoots() say now. */
  reload(): void;
  /** Resolves when all connections have ended; accepts no more from now on. */
  ended(): Promise<void>;
  /** Cuts what is left. */
  close(): void;
}

export async function listenSecurely(deps: SecureListenerDeps): Promise<SecureListener> {
  const sockets = new Set<Socket>();
  const tlsServer = tlsServerOf(deps);
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    if (deps.admission.admits(socket.remoteAddress ?? "")) tlsServer.emit("connection", socket);
    else {
      deps.handshakeEnded("refused");
      socket.destroy();
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  const port = await listen(server, deps.host, deps.port);
  return {
    port,
    reload: () => tlsServer.setSecureContext(contextOptions(deps)),
    ended: () => new Promise((resolve) => server.close(() => resolve())),
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function tlsServerOf(deps: SecureListenerDeps): TlsServer {
  const tlsServer = createTlsServer({
    ...contextOptions(deps),
    requestCert: true,
    rejectUnauthorized: deps.requireClientCertificate,
    // A list would be kept for each connection, as a slice that holds a whole block of the buffer pool.
    ALPNCallback: ({ protocols }) => protocols.find((each) => each === "h2"),
    handshakeTimeout: HANDSHAKE_MS_MAX,
    // The default is derived from the command line, and a resumption across a restart would fail with it.
    sessionIdContext: "holdfast",
  });
  tlsServer.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
    deps.log.debug({ address: socket.remoteAddress, error: error.code }, "handshake failed");
    deps.handshakeEnded("failed");
    socket.destroy();
  });
  tlsServer.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    if (socket.alpnProtocol === "h2") {
      deps.handshakeEnded("done");
      deps.connected(socket);
    } else {
      deps.handshakeEnded("failed");
      socket.destroy();
    }
  });
  return tlsServer;
}

function contextOptions(deps: SecureListenerDeps) {
  const { certificate, privateKey, ticketKeys } = deps.tls();
  return {
    cert: certificate,
    key: privateKey,
    // An empty list trusts nobody; an absent one would trust the public authorities.
    ca: deps.clientRoots().map((der) => pemOf("CERTIFICATE", der)),
    minVersion: "TLSv1.3",
    ticketKeys: Buffer.from(ticketKeys),
    sessionTimeout: TICKET_SECONDS_MAX,
  } as const;
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 4096 }, () => {
      server.off("error", reject);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
