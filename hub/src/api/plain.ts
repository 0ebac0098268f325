/**
 * Requests that are no RPC: probes, metrics, and everything unknown, which is answered in one plain line.
 * Also the headers that every answer carries.
 */
import type { Exposition } from "@holdfast/shared/exposition.ts";
import type { RequestListener } from "./server.ts";

export type PlainDeps = Readonly<{
  /** Whether calls can be answered now; the text says why not. */
  readiness(): Promise<Readonly<{ ready: boolean; message: string }>>;
  /** Absent where metrics are served elsewhere. */
  metrics?: ((accept: string | undefined) => Promise<Exposition>) | undefined;
}>;

type Request = Parameters<RequestListener>[0];
type Response = Parameters<RequestListener>[1];

const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
} as const;
/** Sent over TLS only, as RFC 6797 demands. */
const TRANSPORT_SECURITY = "max-age=31536000";

/** Adds the headers that every answer carries, then asks `next`. */
export function withSecurityHeaders(next: RequestListener): RequestListener {
  return (request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    if ("encrypted" in request.socket) {
      response.setHeader("strict-transport-security", TRANSPORT_SECURITY);
    }
    next(request, response);
  };
}

/** What is served where no RPC's path matches. */
export function plainListener(deps: PlainDeps): RequestListener {
  return (request, response) => {
    void route(deps, request, response).catch(() => {
      if (!response.headersSent) answer(response, 500, "the hub failed\n");
      else response.destroy();
    });
  };
}

async function route(deps: PlainDeps, request: Request, response: Response): Promise<void> {
  // Bodies of such requests are never read.
  request.resume();
  const path = (request.url ?? "").split("?", 1)[0];
  const { metrics } = deps;
  const isMetrics = path === "/metrics" && metrics !== undefined;
  if (path !== "/healthz" && path !== "/readyz" && !isMetrics) {
    return answer(response, 404, "not found: no RPC and no page has this path\n");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return answer(response, 405, "use GET\n");
  }
  if (path === "/healthz") return answer(response, 200, "ok\n");
  if (path === "/readyz") {
    const { ready, message } = await deps.readiness();
    return answer(response, ready ? 200 : 503, `${message}\n`);
  }
  if (metrics === undefined) return;
  const { contentType, text } = await metrics(request.headers.accept);
  return answer(response, 200, text, contentType);
}

function answer(
  response: Response,
  status: number,
  text: string,
  contentType = "text/plain; charset=utf-8",
): void {
  response.statusCode = status;
  response.setHeader("content-type", contentType);
  response.setHeader("content-length", Buffer.byteLength(text));
  (response as { end(text: string): void }).end(text);
}
