/**
 * One question to a port, by HTTP or by no more than a connection. No answer is an answer. Redirects are not followed,
 * since they could lead anywhere; that it answers is enough.
 */
import { connect, type Socket } from "node:net";
import type { Clock } from "@holdfast/shared/clock.ts";
import { eventsHeard } from "./turn.ts";

export type Answer = Readonly<{ ok: boolean; message: string }>;
export type Place = Readonly<{ host: string; port: number }>;
/** A connection to a place, or why there is none. Given up once `stop` is aborted, also after it was made. */
export type Dial = (place: Place, stop: AbortSignal) => Promise<Socket>;

/** Of an answer until its status is known; what needs more is no answer. */
const HEAD_CHARS_MAX = 16_384;
/** Nobody reads why a timer is not needed any more; an abort without a reason would make an error each time. */
const OVER = "over";

/** From the agent's own place in the network. */
export function dialHere(place: Place, stop: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(place);
    socket.once("error", reject);
    socket.once("connect", () => resolve(socket));
    stop.addEventListener("abort", () => socket.destroy(stop.reason as Error), { once: true });
    if (stop.aborted) socket.destroy(stop.reason as Error);
  });
}

/** The status of an HTTP answer; undefined where only a connection was asked for. */
export async function askPort(
  dial: Dial,
  place: Place,
  path: string | undefined,
  stop: AbortSignal,
): Promise<number | undefined> {
  const socket = await dial(place, stop);
  try {
    return path === undefined ? undefined : await statusOf(socket, place, path);
  } finally {
    socket.destroy();
  }
}

export function answerOf(what: string, status: number | undefined): Answer {
  const ok = status === undefined || (status >= 200 && status < 400);
  return { ok, message: status === undefined ? `${what}: accepts` : `${what}: ${status}` };
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
function statusOf(socket: Socket, { host: name, port }: Place, path: string): Promise<number> {
  const host = `${name}:${port}`;
  const question = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  return new Promise((resolve, reject) => {
    let head = "";
    socket.once("error", reject);
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
