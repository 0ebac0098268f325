/**
 * One probe of a copy, by HTTP, TCP or a program of its artefact. Never throws for what the workload does: no answer
 * is an answer. Redirects are not followed, since they could lead anywhere; that it answers is enough.
 */
import { request } from "node:http";
import { connect } from "node:net";
import type { ProbeTarget } from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import type { Copy } from "./copies.ts";
import { probeByProgram } from "./exec-probe.ts";
import type { ProcessHost } from "./host.ts";
import { LOOPBACK } from "./ports.ts";

export type Answer = Readonly<{ ok: boolean; message: string }>;

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
    const ask = (stop: AbortSignal) =>
      path === undefined ? connects(port, stop) : statusOf(port, path, stop);
    const status = await withDeadline(ask, timeoutMs, clock, signal);
    const ok = status === undefined || (status >= 200 && status < 400);
    return { ok, message: status === undefined ? `${what}: accepts` : `${what}: ${status}` };
  } catch (error) {
    if (signal.aborted) throw new Fault("CANCELLED", "AGENT_STOPPING", "the agent is stopping");
    return { ok: false, message: `${what}: ${causeChain(error)}` };
  }
}

export function portOf({ http, tcp }: ProbeTarget, copy: Copy): number | undefined {
  return copy.ports[http?.port ?? tcp?.port ?? ""];
}

/** `ask` is told to give up once the time is over; what it then throws is thrown. */
export async function withDeadline<T>(
  ask: (stop: AbortSignal) => Promise<T>,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<T> {
  const done = new AbortController();
  const late = new AbortController();
  const timer = clock.sleep(timeoutMs, AbortSignal.any([done.signal, signal])).then(() => {
    if (!done.signal.aborted) late.abort(new Error(`no answer within ${timeoutMs} ms`));
  });
  try {
    return await ask(late.signal);
  } finally {
    done.abort();
    await timer;
  }
}

/** The status alone; the body is not read. */
function statusOf(port: number, path: string, stop: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: LOOPBACK, port, path, method: "GET", agent: false }, (answer) => {
      resolve(answer.statusCode ?? 0);
      asked.destroy();
    });
    asked.once("error", reject);
    stop.addEventListener("abort", () => asked.destroy(stop.reason as Error), { once: true });
    asked.end();
  });
}

function connects(port: number, stop: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: LOOPBACK, port }, () => {
      resolve(undefined);
      socket.destroy();
    });
    socket.once("error", reject);
    stop.addEventListener("abort", () => socket.destroy(stop.reason as Error), { once: true });
  });
}
