/**
 * The only error that may cross a module border; anything else that is thrown is a bug.
 * A fault has a canonical gRPC code, a reason for machines and one line for people.
 */

/** Canonical codes (google.rpc.Code) that Holdfast uses, in the spelling of the gRPC documentation. */
export const FAULT_CODES = [
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "RESOURCE_EXHAUSTED",
  "UNIMPLEMENTED",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "INTERNAL",
] as const;
export type FaultCode = (typeof FAULT_CODES)[number];

/** One thing that is wrong with an input: where it is, and what is wrong, with the value and the rule. */
export type Violation = Readonly<{ path: string; message: string }>;

export type FaultDetail = Readonly<{
  /** All problems of one document, at most VIOLATIONS_MAX. */
  violations?: readonly Violation[];
  /** A command or an action that the reader can take next. */
  next?: string;
  retryAfterMs?: number;
  /** Further facts for machines; never a secret. */
  metadata?: Readonly<Record<string, string>>;
  cause?: unknown;
}>;

export const VIOLATIONS_MAX = 20;

export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: FaultCode;
  /** UPPER_SNAKE; documented, and stable within a major version. */
  readonly reason: string;
  readonly violations: readonly Violation[];
  readonly next: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;

  /** `message` says what is wrong, where, the value and the rule. Why it failed goes in `detail.cause`. */
  constructor(code: FaultCode, reason: string, message: string, detail: FaultDetail = {}) {
    super(message, "cause" in detail ? { cause: detail.cause } : undefined);
    this.code = code;
    this.reason = reason;
    this.violations = (detail.violations ?? []).slice(0, VIOLATIONS_MAX);
    this.next = detail.next;
    this.retryAfterMs = detail.retryAfterMs;
    this.metadata = detail.metadata ?? {};
  }

  /** Whether the same call may succeed later without anybody changing anything; whoever says when, says so. */
  get retryable(): boolean {
    return (
      this.retryAfterMs !== undefined ||
      this.code === "UNAVAILABLE" ||
      this.code === "DEADLINE_EXCEEDED" ||
      this.code === "ABORTED"
    );
  }
}

/** Brings anything that was thrown into the set. A fault stays what it is. */
export function asFault(error: unknown, message: string): Fault {
  if (error instanceof Fault) return error;
  return new Fault("INTERNAL", "INTERNAL", message, { cause: error });
}

/** One refusal for all problems of a document. The message names the first and counts the rest. */
export function invalid(
  reason: string,
  violations: readonly Violation[],
  detail: Omit<FaultDetail, "violations"> = {},
): Fault {
  const [first] = violations;
  const head = first === undefined ? "invalid input" : describeViolation(first);
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return new Fault("INVALID_ARGUMENT", reason, head + more, { ...detail, violations });
}

export function describeViolation({ path, message }: Violation): string {
  return path === "" ? message : `${path}: ${message}`;
}

/** The messages of an error and all its causes, outermost first. For logs, never for the wire. */
export function causeChain(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && parts.length < 10; ) {
    parts.push(at instanceof Error ? at.message : String(at));
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(": ");
}
