/**
 * Pulls the messages of a call one by one, so that an agent is read no faster than it is served. Unlike
 * `for await`, leaving early does not destroy the call, which still has a status to send.
 */
import type { Readable } from "node:stream";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";

const WAKING = ["readable", "end", "close", "error", "cancelled"] as const;

/** Whether another message is to be served. */
export type Next = "go on" | "end";

export type Incoming<Message> = Readonly<{
  /** The next message; undefined once the call is over for whatever reason. */
  next(): Promise<Message | undefined>;
  /** Serves one after the other, until `serve` says that none is to follow or throws, or the call is over. */
  each(serve: (message: Message) => Promise<Next>): Promise<void>;
  /** The first message. Throws DEADLINE_EXCEEDED `FIRST_MESSAGE_LATE`, or CANCELLED if none comes. */
  first(msMax: number, clock: Clock): Promise<Message>;
}>;

export function incoming<Message>(call: Readable): Incoming<Message> {
  let waiting: ((message: Message | undefined) => void) | undefined;
  const take = () => {
    if (waiting === undefined) return;
    const message: Message | null = call.read();
    if (message === null && !call.readableEnded && !call.destroyed) return;
    const give = waiting;
    waiting = undefined;
    give(message ?? undefined);
  };
  for (const event of WAKING) call.on(event, take);
  const next = () =>
    new Promise<Message | undefined>((resolve) => {
      waiting = resolve;
      take();
    });
  return {
    next,
    each: (serve) => each(next, serve),
    first: (msMax, clock) => first(next, msMax, clock),
  };
}

/** No function waits between two messages: a stream is idle for most of its life, and nothing holds the last one. */
function each<Message>(
  next: () => Promise<Message | undefined>,
  serve: (message: Message) => Promise<Next>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const wait = () => void next().then(go, reject);
    const go = (message: Message | undefined): void => {
      if (message === undefined) resolve();
      else serve(message).then((then) => (then === "end" ? resolve() : wait()), reject);
    };
    wait();
  });
}

async function first<Message>(
  next: () => Promise<Message | undefined>,
  msMax: number,
  clock: Clock,
): Promise<Message> {
  const stop = new AbortController();
  const late = clock.sleep(msMax, stop.signal).then(() => "late" as const);
  const message = await Promise.race([next(), late]);
  // Without a reason an error with its stack would be made, for nobody.
  stop.abort("it came");
  if (message === "late") {
    throw new Fault(
      "DEADLINE_EXCEEDED",
      "FIRST_MESSAGE_LATE",
      `the first message must come within ${msMax} ms`,
    );
  }
  if (message === undefined) throw new Fault("CANCELLED", "STREAM_EMPTY", "no message was sent");
  return message;
}
