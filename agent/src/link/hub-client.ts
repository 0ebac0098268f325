/** One connection to one endpoint of the hub, and the calls that go over it, with every limit set by hand. */

import { type CallOptions, Client, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { systemClock } from "@holdfast/shared/clock.ts";
import { FAULT_CODES, Fault } from "@holdfast/shared/fault.ts";
import type { GrpcMethod } from "@holdfast/shared/grpc-service.ts";
import { pemOf } from "@holdfast/shared/pem.ts";
import { HubCredentials, type Ticket } from "./credentials.ts";
import type { Identity } from "./port.ts";

export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** The hub pings as often; whoever notices first ends the connection. */
export const KEEPALIVE_MS = 10_000;
/** gRPC's own default: a hub in a storm of reconnections answers late. A dead link is noticed within 30 s. */
export const KEEPALIVE_TIMEOUT_MS = 20_000;

export type KeepaliveTiming = Readonly<{ keepaliveMs: number; keepaliveTimeoutMs: number }>;
export const KEEPALIVE: KeepaliveTiming = {
  keepaliveMs: KEEPALIVE_MS,
  keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS,
};

/** Whom to trust, and as whom to come; enrolment has roots only. */
export type ClientIdentity = Readonly<{
  roots: readonly Uint8Array[];
  certificate?: Readonly<{ chain: readonly Uint8Array[]; key: Uint8Array }>;
}>;

export function clientIdentityOf({ certificate, tlsKey }: Identity): ClientIdentity {
  return { roots: certificate.roots, certificate: { chain: certificate.chain, key: tlsKey } };
}

export interface HubClient {
  readonly grpc: Client;
  /** The fault behind an error of a call, with what TLS said where it was TLS. */
  faultOf(error: unknown): Fault;
  close(): void;
}

export type HubClientOptions = Readonly<{ ticket?: Ticket; timing?: KeepaliveTiming }>;

/** Does not connect yet; the first call does. `endpoint` is host:port. */
export function hubClient(
  endpoint: string,
  identity: ClientIdentity,
  { ticket = {}, timing = KEEPALIVE }: HubClientOptions = {},
): HubClient {
  const { certificate } = identity;
  const credentials = new HubCredentials({
    host: hostOf(endpoint),
    roots: identity.roots.map((der) => pemOf("CERTIFICATE", der)),
    ticket,
    ...(certificate && {
      certificate: {
        chain: certificate.chain.map((der) => pemOf("CERTIFICATE", der)).join(""),
        key: pemOf("PRIVATE KEY", certificate.key),
      },
    }),
  });
  const grpc = new Client(`dns:${endpoint}`, credentials, {
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
    "grpc.keepalive_time_ms": timing.keepaliveMs,
    "grpc.keepalive_timeout_ms": timing.keepaliveTimeoutMs,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.enable_channelz": 0,
    // One connection is one try: the link itself decides when to try again.
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.service_config_disable_resolution": 1,
    // The connection goes where the signed configuration says; no environment variable redirects it.
    "grpc.enable_http_proxy": 0,
  });
  return {
    grpc,
    faultOf: (error) => faultOf(error, credentials.failure),
    close: () => grpc.close(),
  };
}

export type UnaryOptions = Readonly<{ deadlineMs: number; signal?: AbortSignal }>;

/** Throws the call's fault. */
export function callUnary<Request, Response>(
  client: HubClient,
  method: GrpcMethod<Request, Response>,
  request: Request,
  { deadlineMs, signal }: UnaryOptions,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    // grpc-js counts deadlines by the system's clock, whatever clock the rest runs under.
    const options: CallOptions = { deadline: systemClock.now() + deadlineMs };
    const call = client.grpc.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
      options,
      (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (response === undefined) reject(client.faultOf(error));
        else resolve(response);
      },
    );
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
  });
}

/** How grpc-js says that no connection could be made; only its inner part says why. */
const NO_CONNECTION =
  /^No connection established\. Last error: (?:Error: )?(.*?)( \(\d{4}-\S+\))?\. Resolution note: .*$/s;

const REASON_TRAILER = "holdfast-reason";
const RETRY_AFTER_TRAILER = "holdfast-retry-after-ms";
const NEXT_TRAILER = "holdfast-next";

function faultOf(error: unknown, tlsFailure: string | undefined): Fault {
  if (error instanceof Fault) return error;
  if (!isServiceError(error)) {
    return new Fault("UNAVAILABLE", "LINK_LOST", "the connection to the hub was lost", {
      cause: error,
    });
  }
  const name = status[error.code] ?? "INTERNAL";
  const code = FAULT_CODES.find((each) => each === name) ?? "INTERNAL";
  const reason = error.metadata.get(REASON_TRAILER)[0];
  if (typeof reason !== "string") {
    if (NO_CONNECTION.test(error.details)) {
      const message = tlsFailure ?? error.details.replace(NO_CONNECTION, "$1");
      return new Fault(code, "HUB_UNREACHABLE", message, { cause: error });
    }
    return new Fault(code, code, error.details, { cause: error });
  }
  const next = error.metadata.get(NEXT_TRAILER)[0];
  const retryAfterMs = Number(error.metadata.get(RETRY_AFTER_TRAILER)[0] ?? Number.NaN);
  return new Fault(code, reason, error.details, {
    cause: error,
    ...(Number.isFinite(retryAfterMs) && { retryAfterMs }),
    ...(typeof next === "string" && { next }),
  });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && "details" in error;
}

export function hostOf(endpoint: string): string {
  const host = endpoint.slice(0, endpoint.lastIndexOf(":"));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
