/**
 * The one place where a program of a release is started, be it a process or a probe of it: an argument list in a
 * session of its own, with an environment built from nothing and nothing else of the agent.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Account } from "./account.ts";
import type { ProgramHost } from "./host.ts";

export type LaunchPlan = Readonly<{
  file: string;
  args: readonly string[];
  env: Record<string, string>;
  cwd: string;
  umask: number;
  /** undefined: the agent's own. */
  account: Account | undefined;
  stdio: StdioOptions;
}>;

/** In a session of its own, so that neither the agent's end nor its terminal's signals reach it. */
export function launch(host: ProgramHost, plan: LaunchPlan): ChildProcess {
  const { account } = plan;
  const before = host.umask(plan.umask);
  try {
    const child = spawn(plan.file, plan.args, {
      cwd: plan.cwd,
      env: plan.env,
      // With another account goes every further group that the agent is in.
      ...(account !== undefined && { uid: account.uid, gid: account.gid }),
      detached: true,
      shell: false,
      stdio: plan.stdio,
    });
    child.unref();
    return child;
  } finally {
    host.umask(before);
  }
}

/**
 * Why a launch has come to no process that can be followed. A child without a pid has an error to come; one that has a
 * pid and yet cannot be seen, as where no more files can be opened, would be nobody's and is ended.
 */
export async function launchFault(
  host: ProgramHost,
  child: ChildProcess,
  file: string,
): Promise<Fault> {
  if (child.pid !== undefined) {
    endGroup(host, child);
    return new Fault(
      "FAILED_PRECONDITION",
      "PROCESS_NOT_STARTED",
      `could not start ${file}: its process ${child.pid} cannot be seen in ${host.procDir}, so it was ended`,
    );
  }
  const cause = await new Promise((resolve) => child.once("error", resolve));
  return new Fault(
    "FAILED_PRECONDITION",
    "PROCESS_NOT_STARTED",
    `could not start ${file}: ${causeChain(cause)}`,
    { cause },
  );
}

/** SIGKILL to a child and all that is still in its group. Only while its end was not heard of: its number is its own. */
export function endGroup(host: ProgramHost, { pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    host.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
