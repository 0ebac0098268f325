/**
 * One probe of a copy, by HTTP, TCP or a program of its artefact. Never throws for what the workload does: no answer
 * is an answer. Redirects are not followed, since they could lead anywhere; that it answers is enough.
 */
import { connect, type Socket } from "node:net";
import type { ProbeTarget } from "@holdfast/shared/blueprint/kinds/process-probes.ts";
import type { Clock } from "@holdfast/shared/clock.ts";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { DriverContext, Wanted } from "../driver.ts";
import type { Copy } from "./copies.ts";
import { probeByProgram } from "./exec-probe.ts";
import type { ProcessHost } from "./host.ts";
import { LOOPBACK } from "./ports.ts";
import { eventsHeard } from "./turn.ts";

export type Answer = Readonly<{ ok: boolean; message: string }>;

/** Of an answer until its status is known; what needs more is no answer. */
const HEAD_CHARS_MAX = 16_384;
/** Nobody reads why a timer is not needed any more; an abort without a reason would make an error each time. */
const OVER = "over";

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
  const giveUp = () => late.abort(new Error(`no answer within ${timeoutMs} ms`));
  if (signal.aborted) giveUp();
  signal.addEventListener("abort", giveUp, { once: true });
  const timer = clock.sleep(timeoutMs, done.signal).then(async () => {
    if (done.signal.aborted) return;
    await eventsHeard();
    giveUp();
  });
  try {
    return await ask(late.signal);
  } finally {
    signal.removeEventListener("abort", giveUp);
    done.abort(OVER);
    await timer;
  }
}

/**
 * The status alone; nothing else of the answer is read. Each probe has a connection of its own, since a workload that
 * takes no new ones is not ready. Not by node:http, which costs twice as much, each second of the agent's life.
 */
function statusOf(port: number, path: string, stop: AbortSignal): Promise<number> {
  const host = `${LOOPBACK}:${port}`;
  const question = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  return new Promise((resolve, reject) => {
    let head = "";
    const socket = connectTo(port, stop, reject);
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      head += text;
      const status = statusIn(head);
      if (status === "open") return;
      if (status === undefined) reject(new Error("the answer is not HTTP"));
      else resolve(status);
      socket.destroy();
    });
    socket.once("end", () => reject(new Error("closed without an answer")));
    socket.write(question);
  });
}

/** Of the first head that is final; `open`: more has to come; undefined: it can never be one. */
function statusIn(text: string): number | "open" | undefined {
  for (let rest = text; ; ) {
    const status = Number(/^HTTP\/1\.[01] ([1-5]\d\d)[ \r]/.exec(rest)?.[1]);
    if (Number.isNaN(status)) return rest.length < "HTTP/1.1 200 ".length ? "open" : undefined;
    if (status >= 200) return status;
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) return text.length < HEAD_CHARS_MAX ? "open" : undefined;
    rest = rest.slice(end + 4);
  }
}

function connects(port: number, stop: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    const socket = connectTo(port, stop, reject);
    socket.once("connect", () => {
      resolve(undefined);
      socket.destroy();
    });
  });
}

function connectTo(port: number, stop: AbortSignal, failed: (error: Error) => void): Socket {
  const socket = connect({ host: LOOPBACK, port });
  socket.once("error", failed);
  stop.addEventListener("abort", () => socket.destroy(stop.reason as Error), { once: true });
  if (stop.aborted) socket.destroy(stop.reason as Error);
  return socket;
}
