/** A port on loopback that serves probes and metrics alone, for a collector that is not to see the API. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "@holdfast/shared/settings.ts";
import { type RequestListener, SERVER_LIMITS } from "./server.ts";

export type MetricsServer = Readonly<{ port: number; close(): Promise<void> }>;

/** A collector asks once in a while over one connection. */
const CONNECTIONS_MAX = 16;

export async function listenMetrics(
  { host, port }: ListenAddress,
  listener: RequestListener,
): Promise<MetricsServer> {
  const server = createServer(
    {
      maxHeaderSize: SERVER_LIMITS.headerBytesMax,
      headersTimeout: SERVER_LIMITS.headersMsMax,
      requestTimeout: SERVER_LIMITS.requestMsMax,
      keepAliveTimeout: SERVER_LIMITS.keepAliveMsMax,
    },
    listener,
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
