/** Errors of a call as faults: the hub's own with all their details, and those of the way there in one sentence. */
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  HelpSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
} from "@holdfast/proto/google/rpc/error_details_pb.js";
import { Fault, type FaultCode, type Violation } from "@holdfast/shared/fault.ts";
import { errnoMeaning } from "@holdfast/shared/settings.ts";

const CODES: Readonly<Partial<Record<Code, FaultCode>>> = {
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.OutOfRange]: "INVALID_ARGUMENT",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.Aborted]: "ABORTED",
  [Code.ResourceExhausted]: "RESOURCE_EXHAUSTED",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.Canceled]: "CANCELLED",
};

/** `api` names the hub in messages. */
export function faultOf(error: unknown, api: string): Fault {
  if (error instanceof Fault) return error;
  const failure = ConnectError.from(error);
  const [info] = failure.findDetails(ErrorInfoSchema);
  const code = CODES[failure.code] ?? "INTERNAL";
  if (info === undefined) return faultOfTheWay(failure, code, api);
  const [help] = failure.findDetails(HelpSchema);
  const next = help?.links[0]?.description;
  return new Fault(code, info.reason, failure.rawMessage, {
    violations: violationsOf(failure),
    metadata: info.metadata,
    ...(next === undefined || next === "" ? {} : { next }),
    cause: error,
  });
}

function violationsOf(failure: ConnectError): readonly Violation[] {
  const fields = failure
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) =>
      fieldViolations.map(({ field, description }) => ({ path: field, message: description })),
    );
  const states = failure
    .findDetails(PreconditionFailureSchema)
    .flatMap(({ violations }) =>
      violations.map(({ subject, description }) => ({ path: subject, message: description })),
    );
  const quotas = failure
    .findDetails(QuotaFailureSchema)
    .flatMap(({ violations }) =>
      violations.map(({ subject, description }) => ({ path: subject, message: description })),
    );
  return [...fields, ...states, ...quotas];
}

/** What node says of certificates that do not fit (OpenSSL's and TLS's own codes). */
const CERTIFICATE = /^(CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_SSL)/;

/** The hub itself always gives a reason; without one, something on the way failed. */
function faultOfTheWay(failure: ConnectError, code: FaultCode, api: string): Fault {
  const system = systemCode(failure);
  if (CERTIFICATE.test(system)) {
    const message = `the hub's identity at ${api} was not accepted (${system}); is the CA file the hub's?`;
    return new Fault("UNAVAILABLE", "HUB_IDENTITY", message, { cause: failure });
  }
  // A person's Ctrl-C is told apart by the terminal's signal; here it is the hub that gave the call up.
  if (code === "UNAVAILABLE" || code === "CANCELLED" || system !== "") {
    const why = system === "" ? failure.rawMessage : describeSystem(system);
    const message = `the hub at ${api} cannot be reached: ${why}`;
    return new Fault("UNAVAILABLE", "HUB_UNREACHABLE", message, { cause: failure });
  }
  if (code === "DEADLINE_EXCEEDED") {
    const message = `the hub at ${api} did not answer in time`;
    return new Fault(code, "HUB_SILENT", message, { cause: failure });
  }
  return new Fault(code, "CALL_FAILED", failure.rawMessage, { cause: failure });
}

function systemCode(failure: ConnectError): string {
  for (let at: unknown = failure.cause, depth = 0; at instanceof Error && depth < 5; depth++) {
    if ("code" in at && typeof at.code === "string") return at.code;
    at = at.cause;
  }
  return "";
}

const NETWORK_MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (ECONNREFUSED)",
  ECONNRESET: "the connection was cut (ECONNRESET)",
  ENOTFOUND: "the host name is unknown (ENOTFOUND)",
  EAI_AGAIN: "the host name cannot be resolved now (EAI_AGAIN)",
  ETIMEDOUT: "no answer (ETIMEDOUT)",
  EHOSTUNREACH: "no way to the host (EHOSTUNREACH)",
  ENETUNREACH: "no way to the network (ENETUNREACH)",
  ERR_HTTP2_ERROR: "it does not speak HTTP/2 there (ERR_HTTP2_ERROR)",
};

function describeSystem(code: string): string {
  return NETWORK_MEANINGS[code] ?? errnoMeaning(Object.assign(new Error(code), { code }));
}
