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
}>;

/** Ends with a line break. Control characters of foreign text are escaped. */
export function failureText(fault: Fault, attempted: Attempted): string {
  const lines = [`error: ${fault.code} ${fault.reason}: ${fault.message}`];
  const violations = fault.violations.map(describeViolation);
  const isSaid = violations.length === 1 && fault.message.includes(violations[0] ?? "");
  if (!isSaid) lines.push(...violations.map((line) => `  ${line}`));
  lines.push(`next: ${fault.next ?? nextStep(fault, attempted)}`);
  return lines.map((line) => `${escapeControls(line)}\n`).join("");
}

/** One line that can be run and that gets nearer to the cause. */
export function nextStep(fault: Pick<Fault, "code" | "reason">, attempted: Attempted): string {
  const { command, kind, name, tenant } = attempted;
  const whose = tenant === undefined ? "" : ` --tenant ${tenant}`;
  const help = command === "" ? "holdfast help" : `holdfast ${command} --help`;
  switch (fault.code) {
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
