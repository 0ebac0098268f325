/**
 * The environment of a workload, built from nothing: the marks by which its copy is found again, what the
 * contract gives it, and the blueprint's own variables. Variables that choose code are refused here once more,
 * since what is checked only where it is written is not checked.
 */
import { envNameProblem } from "@holdfast/shared/blueprint/kinds/process-env.ts";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import { invalid, type Violation } from "@holdfast/shared/fault.ts";
import { formatGeneration } from "@holdfast/shared/generation.ts";
import { shown } from "@holdfast/shared/text.ts";
import type { InstanceDirectories, Wanted } from "../driver.ts";
import type { Account } from "./account.ts";
import { MARK, portVariable } from "./copies.ts";

/** The same on every host: a workload must not depend on what its agent was started with. */
const FIXED = { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8", TZ: "UTC" } as const;

/** What is wrong with the names of the blueprint's variables. */
export function checkEnvironment(
  env: Readonly<Record<string, string>>,
  path: string,
): readonly Violation[] {
  return Object.keys(env).flatMap((name) => {
    const problem = envNameProblem(name);
    return problem === undefined ? [] : [{ path: `${path}.${shown(name)}`, message: problem }];
  });
}

export type Launch = Readonly<{
  wanted: Wanted;
  spec: ProgramSpec;
  handle: string;
  runDir: string;
  ports: Readonly<Record<string, number>>;
  directories: InstanceDirectories;
  stateDir: string;
  account: Account | undefined;
  /** Beside what every program is given. */
  more: Readonly<Record<string, string>>;
}>;

/** Throws INVALID_ARGUMENT `ENVIRONMENT_REFUSED`. The marks come first: only the beginning is read again. */
export function environmentOf(launch: Launch): Record<string, string> {
  const { wanted, spec, ports, directories } = launch;
  const violations = checkEnvironment(spec.env, "env");
  if (violations.length > 0) throw invalid("ENVIRONMENT_REFUSED", violations);
  const given: Record<string, string> = {
    [MARK.state]: launch.stateDir,
    [MARK.instance]: wanted.key.instanceId,
    [MARK.resource]: wanted.key.resourceId,
    [MARK.copy]: launch.handle,
    [MARK.generation]: formatGeneration(wanted.generation),
    [MARK.digest]: wanted.digest,
  };
  for (const [name, port] of Object.entries(ports)) given[portVariable(name)] = String(port);
  given["HOLDFAST_RELEASE"] = wanted.releaseVersion;
  given["HOLDFAST_RUN_DIR"] = workDirectory(launch.runDir, launch.account);
  given["HOLDFAST_DATA_DIR"] = directories.data;
  given["HOLDFAST_SEATS_FILE"] = directories.seatsFile;
  for (const name of Object.keys(spec.secretFiles)) {
    given[secretVariable(name)] = secretPath(launch.runDir, name);
  }
  return { ...given, ...launch.more, ...FIXED, ...spec.env };
}

/** Another account has a folder of its own: what the agent notes in the run directory is not its to change. */
export function workDirectory(runDir: string, account: Account | undefined): string {
  return account === undefined ? runDir : `${runDir}/work`;
}

function secretVariable(name: string): string {
  return `HOLDFAST_SECRET_${name.toUpperCase().replaceAll("-", "_")}_FILE`;
}

export function secretPath(runDir: string, name: string): string {
  return `${runDir}/secrets/${name}`;
}
