/** One request to the collector over a kept connection: compressed, within its time, the answer read up to a bound. */
import {
  type ClientRequest,
  type IncomingMessage,
  Agent as PlainAgent,
  request as plainRequest,
} from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Clock } from "@holdfast/shared/clock.ts";
import type { Signal } from "./port.ts";
import type { Answer } from "./verdict.ts";

const ANSWER_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 2;

export type PostDeps = Readonly<{
  endpoint: string;
  /** PEM of the only authorities that are trusted. */
  ca: string | undefined;
  msMax: number;
  userAgent: string;
  clock: Clock;
  /** Throws for a file that cannot be used. */
  headers(): Readonly<Record<string, string>>;
}>;

/** Never throws: what went wrong is an answer too. */
export type Post = (signal: Signal, body: Uint8Array, stop: AbortSignal) => Promise<Answer>;

export function createPost(deps: PostDeps): Post {
  const base = deps.endpoint.replace(/\/+$/, "");
  const isTls = base.startsWith("https:");
  const pooled = { keepAlive: true, maxSockets: CONNECTIONS_MAX };
  const agent = isTls
    ? new TlsAgent({ ...pooled, ...(deps.ca !== undefined && { ca: deps.ca }) })
    : new PlainAgent(pooled);
  const request = isTls ? tlsRequest : plainRequest;
  return async (signal, body, stop) => {
    const over = new AbortController();
    const done = new AbortController();
    const end = () => over.abort();
    stop.addEventListener("abort", end, { once: true });
    void deps.clock.sleep(deps.msMax, done.signal).then(end);
    try {
      const packed = await promisify(gzip)(body);
      const headers = {
        ...deps.headers(),
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "content-length": packed.length,
        "user-agent": deps.userAgent,
      };
      const options = { method: "POST", agent, headers, signal: over.signal };
      const url = `${base}/v1/${signal}`;
      return await exchanged((answered) => request(url, options, answered), packed);
    } catch (error) {
      const why = stop.aborted ? "stopping" : `no answer within ${deps.msMax} ms`;
      return { failed: over.signal.aborted ? why : reasonOf(error) };
    } finally {
      stop.removeEventListener("abort", end);
      done.abort();
    }
  };
}

type Start = (answered: (answer: IncomingMessage) => void) => ClientRequest;

function exchanged(start: Start, body: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = start((answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const end = () =>
        resolve({
          status: answer.statusCode ?? 0,
          contentType: answer.headers["content-type"] ?? "",
          retryAfter: answer.headers["retry-after"] ?? "",
          body: Buffer.concat(chunks),
        });
      answer.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length <= ANSWER_BYTES_MAX) chunks.push(chunk);
        else {
          end();
          answer.destroy();
        }
      });
      answer.on("end", end);
      answer.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
