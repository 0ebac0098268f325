/**
 * Pulls the messages of a call one by one, so that an agent is read no faster than it is served. Unlike
 * `for await`, leaving early does not destroy the call, which still has a status to send.
 */
import type { Readable } from "node:stream";
import type { Clock } from "@holdfast/shared/clock.ts";
import { Fault } from "@holdfast/shared/fault.ts";

const WAKING = ["readable", "end", "close", "error", "cancelled"] as const;

export type Incoming<Message> = Readonly<{
  /** The next message; undefined once the call is over for whatever reason. */
  next(): Promise<Message | undefined>;
  /** The first message. Throws DEADLINE_EXCEEDED `FIRST_MESSAGE_LATE`, or CANCELLED if none comes. */
  first(msMax: number, clock: Clock): Promise<Message>;
}>;

export function incoming<Message>(call: Readable): Incoming<Message> {
  const waker: { wake?: () => void } = {};
  const wake = () => waker.wake?.();
  for (const event of WAKING) call.on(event, wake);
  const next = async (): Promise<Message | undefined> => {
    for (;;) {
      const message: Message | null = call.read();
      if (message !== null) return message;
      if (call.readableEnded || call.destroyed) return undefined;
      await new Promise<void>((resolve) => {
        waker.wake = resolve;
      });
    }
  };
  return { next, first: (msMax, clock) => first(next, msMax, clock) };
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
