/** What the exit code of a command means, and which one a fault leads to. */
import type { Fault, FaultCode } from "@holdfast/shared/fault.ts";

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  permission: 4,
  conflict: 5,
  timeout: 6,
  rolledBack: 7,
  unreachable: 8,
  held: 9,
  differences: 10,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, "done"],
  [EXIT.failure, "it failed, for a reason that is none of the following"],
  [EXIT.usage, "wrong use: arguments, configuration or the content of a file"],
  [EXIT.notFound, "there is no such object"],
  [EXIT.permission, "not signed in, or not allowed"],
  [EXIT.conflict, "in conflict with what is there, or not possible in its state"],
  [EXIT.timeout, "what was waited for did not come in time"],
  [EXIT.rolledBack, "it was applied, failed, and was rolled back: the previous generation serves"],
  [EXIT.unreachable, "the hub cannot be reached"],
  [EXIT.held, "held by the customer's rules"],
  [EXIT.differences, "differences were found"],
  [EXIT.interrupted, "interrupted (Ctrl-C)"],
];

const BY_CODE = {
  INVALID_ARGUMENT: EXIT.usage,
  NOT_FOUND: EXIT.notFound,
  ALREADY_EXISTS: EXIT.conflict,
  PERMISSION_DENIED: EXIT.permission,
  UNAUTHENTICATED: EXIT.permission,
  FAILED_PRECONDITION: EXIT.conflict,
  ABORTED: EXIT.conflict,
  RESOURCE_EXHAUSTED: EXIT.failure,
  UNIMPLEMENTED: EXIT.failure,
  UNAVAILABLE: EXIT.unreachable,
  DEADLINE_EXCEEDED: EXIT.unreachable,
  CANCELLED: EXIT.interrupted,
  INTERNAL: EXIT.failure,
} as const satisfies Record<FaultCode, ExitCode>;

/** Reasons of faults that the CLI itself raises and that have an exit code of their own. */
export const REASON = {
  waitTimeout: "WAIT_TIMEOUT",
  rolledBack: "ROLLED_BACK",
  partial: "PARTIAL",
  held: "HELD_BY_CONSENT",
} as const;

const BY_REASON: Readonly<Record<string, ExitCode>> = {
  [REASON.waitTimeout]: EXIT.timeout,
  [REASON.rolledBack]: EXIT.rolledBack,
  [REASON.partial]: EXIT.failure,
  [REASON.held]: EXIT.held,
};

export function exitCodeOf({ code, reason }: Pick<Fault, "code" | "reason">): ExitCode {
  return BY_REASON[reason] ?? BY_CODE[code];
}
