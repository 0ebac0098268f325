/**
 * Calls of the hub's API over HTTP/2: TLS with the hub's own root, or cleartext on loopback. Every call has a
 * deadline; only calls that change nothing are tried again, and only if the hub could not be reached.
 */
import { readFile } from "node:fs/promises";
import type { DescService } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type BackoffBounds, fullJitter } from "@holdfast/shared/backoff.ts";
import { unreadable } from "@holdfast/shared/settings.ts";
import { type Context, checkApiUrl, readSecretFile } from "./contexts.ts";
import { faultOf } from "./hub-errors.ts";
import type { Terminal } from "./terminal.ts";

const CALL_MS_MAX = 30_000;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const TRIES_MAX = 3;
const RETRY: BackoffBounds = { baseMs: 100, capMs: 1_000 };
const IDEMPOTENT = /^(Get|List|Query|Stat|WhoAmI)/;

export type HubClient = Readonly<{
  context: Context;
  client<S extends DescService>(service: S): Client<S>;
  /** Runs one call and brings what it throws into a fault. */
  call<T>(run: () => Promise<T>): Promise<T>;
  close(): void;
}>;

/** Connects with the first call, not here. Throws if a file of the context cannot be read. */
export async function openHub(terminal: Terminal, context: Context): Promise<HubClient> {
  const url = checkApiUrl(context);
  const { caFile, tokenFile } = context;
  const ca = caFile === undefined ? undefined : await readCa(caFile);
  const token =
    tokenFile === undefined ? undefined : await readSecretFile("token file", tokenFile, terminal);
  const nodeOptions = ca === undefined ? {} : { ca };
  const sessions = new Http2SessionManager(url.origin, {}, nodeOptions);
  const transport: Transport = createConnectTransport({
    httpVersion: "2",
    baseUrl: url.origin,
    sessionManager: sessions,
    useBinaryFormat: true,
    defaultTimeoutMs: CALL_MS_MAX,
    readMaxBytes: ANSWER_BYTES_MAX,
    interceptors: [signIn(token), retry(terminal)],
  });
  return {
    context,
    client: (service) => createClient(service, transport),
    call: async (run) => {
      try {
        return await run();
      } catch (error) {
        throw faultOf(error, url.origin);
      }
    },
    close: () => sessions.abort(),
  };
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw unreadable("CA file", path, error);
  }
}

function signIn(token: string | undefined): Interceptor {
  return (next) => (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}

function retry({ clock, random, signal }: Terminal): Interceptor {
  return (next) => async (request) => {
    for (let failures = 0; ; failures++) {
      try {
        return await next(request);
      } catch (error) {
        const isAgain =
          !request.stream &&
          IDEMPOTENT.test(request.method.name) &&
          ConnectError.from(error).code === Code.Unavailable &&
          failures + 1 < TRIES_MAX &&
          !signal.aborted;
        if (!isAgain) throw error;
        await clock.sleep(fullJitter(RETRY, failures, random), signal);
      }
    }
  };
}
