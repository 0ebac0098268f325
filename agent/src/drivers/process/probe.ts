/**
 * One probe of a copy, by HTTP, TCP or a program of its artefact. Never throws for what the workload does: no answer
 * is an answer. Redirects are not followed, since they could lead anywhere; that it answers is enough.
 */
import type { ProbeTarget } from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import { type Answer, answerOf, askPort, dialHere, withDeadline } from "../ask.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import type { Copy } from "../host-process/copies.ts";
import { probeByProgram } from "./exec-probe.ts";
import type { ProcessHost } from "./host.ts";
import { LOOPBACK } from "./ports.ts";

export async function probe(
  host: ProcessHost,
  target: ProbeTarget & Readonly<{ timeoutMs: number }>,
  copy: Copy,
  wanted: Wanted,
  context: DriverContext,
): Promise<Answer> {
  const { clock, signal } = context;
  const { exec, timeoutMs } = target;
  if (exec !== undefined) {
    return await probeByProgram(host, { argv: exec.argv, timeoutMs }, copy, wanted, context);
  }
  const port = portOf(target, copy);
  if (port === undefined) return { ok: false, message: "it has no port of the probe's name" };
  const path = target.http?.path;
  const what =
    path === undefined ? `tcp ${LOOPBACK}:${port}` : `GET http://${LOOPBACK}:${port}${path}`;
  try {
    const ask = (stop: AbortSignal) => askPort(dialHere, { host: LOOPBACK, port }, path, stop);
    return answerOf(what, await withDeadline(ask, timeoutMs, clock, signal));
  } catch (error) {
    if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
    return { ok: false, message: `${what}: ${causeChain(error)}` };
  }
}

export function portOf({ http, tcp }: ProbeTarget, copy: Copy): number | undefined {
  return copy.ports[http?.port ?? tcp?.port ?? ""];
}
