/** How the agent's commands fail: exit code, one line with code and reason, and what to run next. Pure. */
import { describeViolation, type Fault, type FaultCode } from "@holdfast/shared/fault.ts";
import { escapeControls } from "@holdfast/shared/text.ts";

const EXIT_CODES = {
  INVALID_ARGUMENT: 2,
  NOT_FOUND: 3,
  ALREADY_EXISTS: 5,
  PERMISSION_DENIED: 4,
  UNAUTHENTICATED: 4,
  FAILED_PRECONDITION: 5,
  ABORTED: 5,
  RESOURCE_EXHAUSTED: 1,
  UNIMPLEMENTED: 1,
  UNAVAILABLE: 8,
  DEADLINE_EXCEEDED: 8,
  CANCELLED: 130,
  INTERNAL: 1,
} as const satisfies Record<FaultCode, number>;

export function exitCodeOf({ code }: Pick<Fault, "code">): number {
  return EXIT_CODES[code];
}

/** Ends with a line break. Control characters of foreign text are escaped. */
export function failureText(fault: Fault): string {
  const violations = fault.violations.map(describeViolation);
  const isSaid = violations.length === 1 && fault.message.includes(violations[0] ?? "");
  const lines = [
    `error: ${fault.code} ${fault.reason}: ${fault.message}`,
    ...(isSaid ? [] : violations.map((line) => `  ${line}`)),
    `next: ${fault.next ?? "holdfast-agent --help"}`,
  ];
  return lines.map((line) => `${escapeControls(line)}\n`).join("");
}
