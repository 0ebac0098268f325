/** Tries all that can fail in a start before anything is changed. */
import type { DriverContext, Wanted } from "../driver.ts";
import { findCopies } from "../host-process/copies.ts";
import { prepareProgram } from "../host-process/prepare.ts";
import type { ProcessHost } from "./host.ts";
import { fixedPortProblem, portInUse } from "./ports.ts";
import { portsOf, renderedSpecOf } from "./spec.ts";

/**
 * Throws what the start would: INVALID_ARGUMENT `SPEC_INVALID`, FAILED_PRECONDITION `PORT_IN_USE`, and what
 * `prepareProgram` throws.
 */
export async function prepareStart(
  host: ProcessHost,
  wanted: Wanted,
  context: DriverContext,
): Promise<void> {
  const spec = renderedSpecOf(wanted.spec);
  const probes = [spec.readiness?.exec, spec.liveness?.exec];
  prepareProgram(
    host,
    wanted,
    spec,
    probes.flatMap((exec) => (exec ? [exec.argv] : [])),
  );
  for (const [name, port] of portsOf(spec)) {
    if (port !== undefined) await checkFixedPort(host, wanted, name, port, context);
  }
}

/** Held by the copy that is to be replaced, a port will be free when it is needed. */
async function checkFixedPort(
  host: ProcessHost,
  { key }: Wanted,
  name: string,
  port: number,
  context: DriverContext,
): Promise<void> {
  const problem = await fixedPortProblem(name, port, host.procDir);
  if (problem === undefined) return;
  const copies = await findCopies(host, context);
  const holder = copies.find(({ members }) => members.some(({ pid }) => pid === problem.pid));
  if (holder === undefined) throw portInUse(problem.message);
  const { instanceId, resourceId } = holder.key;
  if (instanceId === key.instanceId && resourceId === key.resourceId) return;
  throw portInUse(`${problem.message}, which is ${resourceId} of ${instanceId} on this agent`);
}
