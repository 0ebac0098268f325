/** The worker's pages on the loopback interface: what it is, readiness, liveness, metrics. Read-only. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Page = Readonly<{ status: number; type: string; body: string }>;
export type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

const HEADERS_TIMEOUT_MS = 5_000;
const CONNECTIONS_MAX = 100;

export function jsonPage(status: number, body: unknown): Page {
  return { status, type: "application/json", body: `${JSON.stringify(body)}\n` };
}

/** Resolves with the server once it listens. */
export function servePages(pages: Pages, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const page = request.method === "GET" ? pages[path] : undefined;
    void answer(response, page);
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = HEADERS_TIMEOUT_MS;
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function answer(response: ServerResponse, page: Pages[string] | undefined): Promise<void> {
  const missing = () => jsonPage(404, { error: "no such page" });
  const failed = (error: unknown) => jsonPage(500, { error: String(error) });
  const { status, type, body } = await Promise.resolve()
    .then(page ?? missing)
    .catch(failed);
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
}
