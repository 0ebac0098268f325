/**
 * Which program of the release runs on the host, and with what: the part of a spec that processes and jobs have alike.
 * Refuses programs from outside of the release's artefact, commands as text, and the account of root.
 */
import type { Shape } from "../shape.ts";
import type { SpecPath } from "./kind.ts";
import { PROCESS_RUNTIMES, readArgv } from "./process-argv.ts";
import {
  isAmount,
  type ProcessLimits,
  type ProcessRequests,
  readAmounts,
} from "./process-limits.ts";
import { readEnv, readSecretFiles } from "./workload.ts";

export type ProgramSpec = Readonly<{
  artefact: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Name of the file below the copy's secrets directory to the name of the declared secret. */
  secretFiles: Readonly<Record<string, string>>;
  limits: ProcessLimits;
  requests: ProcessRequests;
  /** Account of the host; undefined: the agent's own. */
  user?: string;
  /** What new files of the process are not given. */
  umask: number;
}>;

/** Counters that are kept for each program. */
export const PROGRAM_COUNTERS = ["cpu_ms", "uptime_s", "memory_mib_s"] as const;

const ARTEFACT_NAME = { pattern: /^[a-z][a-z0-9-]{0,39}$/, allowed: "the name of an artefact" };
/** By name, since a number means another account on each host. */
const USER = {
  pattern: /^(?!root$)[a-z_][a-z0-9_-]{0,31}$/,
  allowed: "the name of an account that is not root; nothing: the agent's own",
};
const UMASK = {
  pattern: /^0?0[0-7]{2}$/,
  allowed: 'three octal digits in quotes, the first 0, such as "027"',
};
const UMASK_DEFAULT = 0o077;

export function readProgram(shape: Shape): ProgramSpec {
  const artefact = shape.text("artefact", ARTEFACT_NAME, true) ?? "";
  const argv = readArgv(shape);
  const env = readEnv(shape);
  const secretFiles = readSecretFiles(shape);
  const amounts = readAmounts(shape);
  const user = shape.text("user", USER);
  const umask = shape.text("umask", UMASK);
  return {
    ...{ artefact, argv, env, secretFiles, ...amounts },
    ...(user !== undefined && { user }),
    umask: umask === undefined ? UMASK_DEFAULT : Number.parseInt(umask, 8),
  };
}

/** Whether an expression may stand there: not in what chooses the program. */
export function isOpenWord(spec: Readonly<Record<string, unknown>>, at: SpecPath): boolean {
  const [field, index] = at;
  if (isAmount(at) || field === "env" || field === "secretFiles") return true;
  return field === "argv" && typeof index === "number" && !choosesProgram(spec["argv"], index);
}

/** `argv[0]` always; `argv[1]` too where a runtime takes it for the program. */
export function choosesProgram(argv: unknown, index: number): boolean {
  const program: unknown = Array.isArray(argv) ? argv[0] : undefined;
  return index === 0 || (index === 1 && PROCESS_RUNTIMES.some((each) => each === program));
}
