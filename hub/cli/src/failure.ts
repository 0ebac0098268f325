/** How a failure looks: one line with code and reason, a line for each violation, and what to run next. */
import { describeViolation, type Fault } from "@holdfast/shared/fault.ts";
import { escapeControls } from "@holdfast/shared/text.ts";

/** What was being done, as far as it helps to choose the next command. */
export type Attempted = Readonly<{
  /** Words of the command, such as `release publish`. */
  command: string;
  /** Singular name of a kind. */
  kind?: string | undefined;
  name?: string | undefined;
  /** `--tenant` as it was given. */
  tenant?: string | undefined;
  /** What tells whether a file is right by now, without changing anything. */
  check?: string | undefined;
}>;

/** Ends with a line break. Control characters of foreign text are escaped. */
export function failureText(fault: Fault, attempted: Attempted): string {
  const violations = fault.violations.map(describeViolation);
  const isFirstSaid = violations[0] !== undefined && fault.message.startsWith(violations[0]);
  const isList = violations.length > 1;
  const message = isFirstSaid && isList ? `${violations.length} problems` : fault.message;
  const lines = [`error: ${fault.code} ${fault.reason}: ${message}`];
  if (isList || !isFirstSaid) lines.push(...violations.map((line) => `  ${line}`));
  lines.push(`next: ${fault.next ?? nextStep(fault, attempted)}`);
  return lines.map((line) => `${escapeControls(line)}\n`).join("");
}

/** Reasons that say nothing about the content of a file. */
const BEFORE_CONTENT = ["USAGE", "FILE_UNREADABLE", "SECRET_IN_ARGUMENT"];

/** One line that can be run and that gets nearer to the cause. */
export function nextStep(fault: Pick<Fault, "code" | "reason">, attempted: Attempted): string {
  const { command, kind, name, tenant } = attempted;
  const whose = tenant === undefined ? "" : ` --tenant ${tenant}`;
  const help = command === "" ? "holdfast help" : `holdfast ${command} --help`;
  switch (fault.code) {
    case "INVALID_ARGUMENT":
      return BEFORE_CONTENT.includes(fault.reason) ? help : (attempted.check ?? help);
    case "NOT_FOUND":
      return kind === undefined ? help : `holdfast get ${kind}${whose}`;
    case "UNAUTHENTICATED":
    case "UNAVAILABLE":
    case "DEADLINE_EXCEEDED":
      return "holdfast context list";
    case "PERMISSION_DENIED":
      return "holdfast whoami";
    case "ALREADY_EXISTS":
    case "ABORTED":
    case "FAILED_PRECONDITION":
      if (kind === undefined || name === undefined) return "holdfast events";
      return `holdfast describe ${kind} ${name}${whose}`;
    case "CANCELLED":
      return name === undefined || kind === undefined
        ? help
        : `holdfast get ${kind} ${name}${whose}`;
    default:
      return help;
  }
}
