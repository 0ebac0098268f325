/**
 * Faults as callers see them: a Connect error with google.rpc details. What is not a fault is a bug; the
 * caller learns only that, the log gets the cause. Never shows a stack or SQL.
 */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  HelpSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "@holdfast/proto/google/rpc/error_details_pb.js";
import { Fault, type FaultCode, type Violation } from "@holdfast/shared/fault.ts";
import { cut } from "@holdfast/shared/text.ts";

/** ErrorInfo.domain of all our reasons. */
export const ERROR_DOMAIN = "holdfast.dev";

const CODES = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  UNIMPLEMENTED: Code.Unimplemented,
  UNAVAILABLE: Code.Unavailable,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  CANCELLED: Code.Canceled,
  INTERNAL: Code.Internal,
} as const satisfies Record<FaultCode, Code>;

/**
 * Of the texts of one refusal. gRPC sends it all in one block of headers, of which Node takes 64 KiB at most and ends the
 * connection for more; a place may be named by a key of the caller's, which may be as long as a body.
 */
const MESSAGE_CHARS_MAX = 1_000;
const PATH_CHARS_MAX = 200;
const VIOLATION_CHARS_MAX = 400;

/** Reason of a Connect error that no use case threw, such as a body that is not JSON. */
export const REASON_OF_BUG = "INTERNAL";

/** `requestId` stands in the details, so that a caller can name the log line. */
export function asConnectError(error: unknown, requestId: string): ConnectError {
  if (error instanceof ConnectError) return error;
  const fault =
    error instanceof Fault
      ? error
      : new Fault("INTERNAL", REASON_OF_BUG, `the hub failed; request ${requestId} is in its log`);
  return new ConnectError(
    // What no wire carries would end the call without an answer.
    cut(fault.message.toWellFormed(), MESSAGE_CHARS_MAX),
    CODES[fault.code],
    undefined,
    detailsOf(fault, requestId),
    error,
  );
}

/** Reasons of what the protocol itself ends, before or beside the use case. */
const PROTOCOL_REASONS: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "REQUEST_MALFORMED",
  [Code.ResourceExhausted]: "REQUEST_TOO_LARGE",
  [Code.Unimplemented]: "REQUEST_UNSUPPORTED",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.Canceled]: "CANCELLED",
  [Code.Unavailable]: "HUB_STOPPING",
};

/**
 * Brings an error that Connect made of a request into our form, in place: it is on its way to the caller and
 * nobody else touches it. Where `isRequest`, what Connect calls its own failure (bytes that are no message, a
 * compressed frame without a compression) is the caller's.
 */
export function nameProtocolError(
  error: ConnectError,
  requestId: string,
  isRequest: boolean,
): void {
  if (error.details.length > 0) return;
  const said = error.cause instanceof Fault ? asConnectError(error.cause, requestId) : undefined;
  const isBlamed = error.code === Code.Internal || error.code === Code.Unknown;
  const code = isRequest && isBlamed ? Code.InvalidArgument : error.code;
  const info = { reason: PROTOCOL_REASONS[code] ?? REASON_OF_BUG, domain: ERROR_DOMAIN };
  const value = create(ErrorInfoSchema, { ...info, metadata: { request_id: requestId } });
  Object.assign(error, {
    code,
    rawMessage: cut(error.rawMessage.toWellFormed(), MESSAGE_CHARS_MAX),
    details: said?.details ?? [{ desc: ErrorInfoSchema, value }],
  });
}

type Detail = NonNullable<ConstructorParameters<typeof ConnectError>[3]>[number];

function detailsOf(fault: Fault, requestId: string): Detail[] {
  const { reason, metadata, violations, next, retryAfterMs } = fault;
  const info = { reason, domain: ERROR_DOMAIN, metadata: { ...metadata, request_id: requestId } };
  const details: Detail[] = [{ desc: ErrorInfoSchema, value: create(ErrorInfoSchema, info) }];
  if (violations.length > 0) details.push(violationsDetail(fault));
  if (retryAfterMs !== undefined) {
    const seconds = BigInt(Math.floor(retryAfterMs / 1000));
    const nanos = (retryAfterMs % 1000) * 1_000_000;
    const value = create(RetryInfoSchema, { retryDelay: { seconds, nanos } });
    details.push({ desc: RetryInfoSchema, value });
  }
  if (next !== undefined) {
    const value = create(HelpSchema, { links: [{ description: next, url: "" }] });
    details.push({ desc: HelpSchema, value });
  }
  return details;
}

/** A refused state is a PreconditionFailure, what is used up a QuotaFailure, anything else a BadRequest. */
function violationsDetail({ code, reason, violations: all }: Fault): Detail {
  const violations = all.map(shortened);
  if (code === "FAILED_PRECONDITION") {
    const value = create(PreconditionFailureSchema, {
      violations: violations.map(({ path, message }) => ({
        type: reason,
        subject: path,
        description: message,
      })),
    });
    return { desc: PreconditionFailureSchema, value };
  }
  if (code === "RESOURCE_EXHAUSTED") {
    const value = create(QuotaFailureSchema, {
      violations: violations.map(({ path, message }) => ({ subject: path, description: message })),
    });
    return { desc: QuotaFailureSchema, value };
  }
  const value = create(BadRequestSchema, {
    fieldViolations: violations.map(({ path, message }) => ({ field: path, description: message })),
  });
  return { desc: BadRequestSchema, value };
}

function shortened({ path, message }: Violation): Violation {
  return { path: cut(path, PATH_CHARS_MAX), message: cut(message, VIOLATION_CHARS_MAX) };
}
