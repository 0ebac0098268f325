/**
 * The listener where agents get and renew their certificates; it serves nothing else. TLS asks for a client
 * certificate but accepts any or none: Enroll needs none, and for Renew our own check also takes one that
 * ended up to 35 days ago.
 */
import type { ServerUnaryCall } from "@grpc/grpc-js";
import {
  type EnrollRequest,
  type EnrollResponse,
  IdentityService,
  type RenewRequest,
  type RenewResponse,
} from "@holdfast/proto/holdfast/link/v1/identity_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { grpcService } from "@holdfast/shared/grpc-service.ts";
import { RENEW_GRACE_MS, verifyAgentCertificate } from "../pki/agent-certificate.ts";
import { Admission, KeyedBuckets, networkOf } from "./admission.ts";
import { certificateOf, peerOf } from "./caller.ts";
import { type Calmed, createGrpcServer } from "./grpc-server.ts";
import { unary } from "./grpc-status.ts";
import {
  ADDRESSES_MAX,
  ENROLL_FAILURES_MAX,
  ENROLL_FAILURES_WINDOW_MS,
  ENROLLS_IN_FLIGHT_MAX,
  IDENTITY_CONNECTION_GRACE_MS,
  IDENTITY_CONNECTION_MS_MAX,
  IDENTITY_MESSAGE_BYTES_MAX,
  LINK_TIMING,
  RENEWALS_BURST_MAX,
  RENEWALS_PER_HOUR_MAX,
} from "./limits.ts";
import { ADMISSION, type ListenerDeps, within } from "./link-server.ts";
import type { IdentityHub } from "./port.ts";
import { listenSecurely } from "./secure-listener.ts";
import { UNWATCHED } from "./watch.ts";

export type IdentityServerDeps = ListenerDeps & Readonly<{ hub: IdentityHub }>;

export interface IdentityServer {
  readonly port: number;
  reload(): void;
  stop(msMax: number): Promise<void>;
}

export async function startIdentityServer(deps: IdentityServerDeps): Promise<IdentityServer> {
  const { clock, log, watch = UNWATCHED } = deps;
  const calmed: Calmed = (excess) => watch.calmed("identity", excess);
  const grpc = createGrpcServer(deps.timing ?? LINK_TIMING, clock, calmed, {
    "grpc.max_receive_message_length": IDENTITY_MESSAGE_BYTES_MAX,
    // Unary calls have no bound on how slowly they may be asked, so their connections have one.
    "grpc.max_connection_age_ms": IDENTITY_CONNECTION_MS_MAX,
    "grpc.max_connection_age_grace_ms": IDENTITY_CONNECTION_GRACE_MS,
  });
  const enrolls = new Enrolls(deps);
  const perSecond = RENEWALS_PER_HOUR_MAX / 3_600;
  const renewals = new KeyedBuckets({ perSecond, burst: RENEWALS_BURST_MAX }, ADDRESSES_MAX, clock);
  grpc.server.addService(grpcService(IdentityService), {
    enroll: unary(log, (call: EnrollCall) => enrolls.enroll(call)),
    renew: unary(log, (call: RenewCall) => renew(call, deps, renewals)),
  });
  const listener = await listenSecurely({
    ...deps,
    admission: new Admission(deps.admission ?? ADMISSION, clock),
    handshakeEnded: (outcome) => watch.handshakeEnded("identity", outcome),
    clientRoots: () => deps.authorities().map(({ certificate }) => certificate.raw),
    requireClientCertificate: false,
    connected: (socket) => {
      // grpc-js shows handlers the certificate of an authorized connection only, and TLS calls one that has
      // expired unauthorized. So the word is ours here; Renew judges the age at the time of the call.
      socket.authorized = isOurs(socket.getPeerCertificate().raw, deps);
      grpc.inject(socket);
    },
  });
  return {
    port: listener.port,
    reload: () => listener.reload(),
    stop: async (msMax) => {
      const ended = listener.ended();
      grpc.drain(msMax);
      await within(ended, msMax, clock);
      grpc.close();
      listener.close();
      await ended;
    },
  };
}

type EnrollCall = ServerUnaryCall<EnrollRequest, EnrollResponse>;
type RenewCall = ServerUnaryCall<RenewRequest, RenewResponse>;

function isOurs(der: Uint8Array | undefined, { authorities, clock }: IdentityServerDeps): boolean {
  try {
    verifyAgentCertificate(der, authorities(), clock.now(), Number.POSITIVE_INFINITY);
    return true;
  } catch {
    // Whoever needs a certificate is told so by the call; enrolling agents have none yet.
    return false;
  }
}

async function renew(
  call: RenewCall,
  deps: IdentityServerDeps,
  renewals: KeyedBuckets,
): Promise<RenewResponse> {
  const agent = verifyAgentCertificate(
    certificateOf(call),
    deps.authorities(),
    deps.clock.now(),
    RENEW_GRACE_MS,
  );
  if (!renewals.take(agent.agentId)) {
    const what = `more than ${RENEWALS_PER_HOUR_MAX} renewals an hour of this agent`;
    throw busy("RENEWALS_TOO_MANY", what, ENROLL_FAILURES_WINDOW_MS);
  }
  const { certificateRequest, identityProof } = call.request;
  return deps.hub.renew(agent, certificateRequest, identityProof, peerOf(call));
}

/** Enrolments: bounded at once and, when they fail, per address; all that a wrong token can be has one text. */
class Enrolls {
  readonly #deps: IdentityServerDeps;
  readonly #failures: KeyedBuckets;
  #running = 0;

  constructor(deps: IdentityServerDeps) {
    this.#deps = deps;
    const perSecond = (ENROLL_FAILURES_MAX * 1000) / ENROLL_FAILURES_WINDOW_MS;
    const bounds = { perSecond, burst: ENROLL_FAILURES_MAX };
    this.#failures = new KeyedBuckets(bounds, ADDRESSES_MAX, deps.clock);
  }

  async enroll(call: EnrollCall): Promise<EnrollResponse> {
    const peer = peerOf(call);
    const network = networkOf(peer.address);
    if (!this.#failures.has(network)) {
      const what = `more than ${ENROLL_FAILURES_MAX} failed enrolments from this address`;
      throw busy("ENROLL_FAILURES_TOO_MANY", what, ENROLL_FAILURES_WINDOW_MS);
    }
    if (this.#running >= ENROLLS_IN_FLIGHT_MAX) {
      throw busy(
        "ENROLLS_TOO_MANY",
        `more than ${ENROLLS_IN_FLIGHT_MAX} enrolments at once`,
        1_000,
      );
    }
    this.#running += 1;
    try {
      return await this.#deps.hub.enroll(call.request, peer);
    } catch (error) {
      if (error instanceof Fault && !error.retryable) this.#failures.take(network);
      throw isTokenProblem(error) ? tokenRefused(error) : error;
    } finally {
      this.#running -= 1;
    }
  }
}

function isTokenProblem(error: unknown): error is Fault {
  const codes = ["UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"];
  return error instanceof Fault && codes.includes(error.code);
}

/** Unknown, expired, used, revoked and for another cell look the same from outside; the audit tells them apart. */
function tokenRefused(cause: Fault): Fault {
  return new Fault(
    "UNAUTHENTICATED",
    "JOIN_TOKEN_REFUSED",
    "join token not accepted: it is unknown, expired, used or revoked",
    { cause, next: "holdfast cell token CELL" },
  );
}

function busy(reason: string, what: string, retryAfterMs: number): Fault {
  return new Fault("RESOURCE_EXHAUSTED", reason, what, { retryAfterMs });
}
