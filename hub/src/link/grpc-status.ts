/**
 * How handlers speak through grpc-js: a Fault becomes a status with its reason in the trailer
 * `holdfast-reason`; anything else becomes INTERNAL without its text, which goes to the log.
 */
import { Metadata, type sendUnaryData, status } from "@grpc/grpc-js";
import { causeChain, Fault } from "@holdfast/shared/fault.ts";
import type { Log } from "@holdfast/shared/log.ts";
import { cut } from "@holdfast/shared/text.ts";

export const REASON_TRAILER = "holdfast-reason";
export const RETRY_AFTER_TRAILER = "holdfast-retry-after-ms";
export const NEXT_TRAILER = "holdfast-next";
/** What a trailer may hold; other text is left out rather than refused. */
const TRAILER_TEXT = /^[\x20-\x7e]{1,200}$/;
const DETAILS_CHARS_MAX = 1_000;

type Status = Readonly<{ code: number; details: string; metadata: Metadata }>;

export function statusOf(error: unknown, log: Log): Status {
  if (!(error instanceof Fault) || error.code === "INTERNAL") {
    log.error({ error: causeChain(error) }, "a call of an agent failed");
    return statusFrom(new Fault("INTERNAL", "INTERNAL", "internal error"));
  }
  if (error.cause !== undefined) {
    log.debug({ reason: error.reason, error: causeChain(error) }, "a call of an agent was refused");
  }
  return statusFrom(error);
}

function statusFrom({ code, reason, message, retryAfterMs, next }: Fault): Status {
  const metadata = new Metadata();
  metadata.set(REASON_TRAILER, reason);
  if (retryAfterMs !== undefined) metadata.set(RETRY_AFTER_TRAILER, `${Math.ceil(retryAfterMs)}`);
  if (next !== undefined && TRAILER_TEXT.test(next)) metadata.set(NEXT_TRAILER, next);
  return { code: status[code], details: cut(message.toWellFormed(), DETAILS_CHARS_MAX), metadata };
}

/** A unary handler from a function that returns or throws. */
export function unary<Call, Output>(log: Log, work: (call: Call) => Promise<Output>) {
  return async (call: Call, answer: sendUnaryData<Output>): Promise<void> => {
    try {
      answer(null, await work(call));
    } catch (error) {
      answer(statusOf(error, log));
    }
  };
}

type OutCall = Readonly<{ end(): unknown; emit(event: "error", status: Status): boolean }>;

/** A streaming handler: the stream ends well when the function returns, and with its fault when it throws. */
export function streaming<Call extends OutCall>(log: Log, work: (call: Call) => Promise<void>) {
  return (call: Call): Promise<void> =>
    work(call).then(
      () => void call.end(),
      (error: unknown) => void call.emit("error", statusOf(error, log)),
    );
}

/**
 * Resolves when the message was taken by the connection, so that awaiting it is the back-pressure of a slow
 * agent; at once when the stream is over.
 */
export function written<Message>(
  call: Readonly<{ write(message: Message, done: () => void): boolean }>,
  message: Message,
  ended: AbortSignal,
): Promise<void> {
  if (ended.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      ended.removeEventListener("abort", done);
      resolve();
    };
    ended.addEventListener("abort", done, { once: true });
    call.write(message, done);
  });
}
