/**
 * What every start of a program has in common: its room in the run directory, its secrets, its control groups, its
 * environment, and the record of it. Changes nothing outside of the copy's own directory and groups.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";
import type { ProgramSpec } from "@holdfast/shared/blueprint/kinds/program.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import { type Account, accountOf, giveTo, openWay } from "./account.ts";
import { type Program, programOf } from "./artefact.ts";
import { type Groups, groupName, makeGroups } from "./cgroup.ts";
import { confine } from "./confine.ts";
import type { Copy } from "./copies.ts";
import { environmentOf, workDirectory } from "./environment.ts";
import type { ProgramHost } from "./host.ts";
import { type Amounts, type Kept, lost, rulesOf } from "./limits.ts";
import { bootId, readProcess } from "./proc.ts";
import type { CopyRecord, ProcessIdentity, StopSettings } from "./record.ts";
import { writeSecrets } from "./secrets.ts";

/** Control groups, and what became of the limits that they are for. */
export type Held = Readonly<{ groups: Groups; kept: readonly Kept[] }>;

export type Room = Readonly<{
  program: Program;
  account: Account | undefined;
  cwd: string;
  held: Held;
  /** `more`: of the kind alone. */
  environment(
    ports: Readonly<Record<string, number>>,
    more?: Readonly<Record<string, string>>,
  ): Record<string, string>;
}>;

/** Throws what `programOf`, `accountOf` and `secretValue` do, and what the host's file system says. */
export function makeRoom(
  host: ProgramHost,
  {
    wanted,
    spec,
    handle,
    runDir,
  }: Readonly<{ wanted: Wanted; spec: ProgramSpec; handle: string; runDir: string }>,
  context: DriverContext,
): Room {
  const { stateDir } = context;
  const directories = context.directories(wanted.key.instanceId);
  const program = programOf(spec, wanted.artefacts, host.nodePath);
  const account = accountOf(host, spec.user);
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  writeSecrets(runDir, wanted, spec, account);
  const held = makeGroups(host, stateDir, groupName(wanted.key.instanceId, handle), spec);
  const cwd = workDirectory(runDir, account);
  mkdirSync(cwd, { recursive: true, mode: 0o700 });
  for (const path of [cwd, directories.data]) giveTo(path, account);
  for (const path of [runDir, program.root]) openWay(path, stateDir, account);
  const environment: Room["environment"] = (ports, more = {}) =>
    environmentOf({
      ...{ wanted, spec, handle, runDir, ports, directories, account, stateDir, more },
    });
  return { program, account, cwd, held, environment };
}

/** Confines a process that runs; where the kernel refuses, what its groups would have kept is lost. */
export async function hold(
  { procDir }: Pick<ProgramHost, "procDir">,
  { groups, kept }: Held,
  pid: number | undefined,
  amounts: Amounts,
): Promise<Held> {
  const problem = pid === undefined ? undefined : await confine(procDir, groups, pid);
  if (problem === undefined) return { groups, kept };
  return { groups, kept: rulesOf(amounts).map((rule) => lost(rule, problem)) };
}

/** Before the event loop turns, a child that has ended at once is still a zombie and so still in /proc. */
export function identityOf(
  { procDir }: Pick<ProgramHost, "procDir">,
  child: ChildProcess,
): ProcessIdentity | undefined {
  const entry = child.pid === undefined ? undefined : readProcess(procDir, child.pid);
  if (entry === undefined) return undefined;
  return { pid: entry.pid, startTicks: entry.startTicks, bootId: bootId(procDir) };
}

export function recordOf(
  copy: Pick<Copy, "key" | "handle" | "digest" | "generation" | "ports" | "restarts">,
  stop: StopSettings,
  { groups, kept }: Held,
  process: ProcessIdentity | undefined,
  beganAt: number,
): CopyRecord {
  return {
    instance: copy.key.instanceId,
    resource: copy.key.resourceId,
    handle: copy.handle,
    digest: copy.digest,
    generation: copy.generation,
    ports: copy.ports,
    restarts: copy.restarts,
    stop: { signal: stop.signal, graceMs: stop.graceMs },
    ...{ groups, kept, beganAt, process },
    stopping: false,
  };
}
