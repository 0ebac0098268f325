/** Follows a stream of the hub's to the end of the command: notices silence, connects again, and goes on by token. */
import { fullJitter } from "@holdfast/shared/backoff.ts";
import { Fault } from "@holdfast/shared/fault.ts";
import type { HubClient } from "./hub-client.ts";
import type { Terminal } from "./terminal.ts";

const RECONNECT = { baseMs: 200, capMs: 5_000 };
/** The hub gives a sign of life every 15 s. */
const SILENCE_MS_MAX = 45_000;

/** `token` says where to go on. */
export type Followed<Answer> = (
  token: string,
  options: Readonly<{ signal: AbortSignal; timeoutMs: number }>,
) => AsyncIterable<Answer>;

/** Said by whoever has seen the last of it. */
export const OVER = "over";

/** Whether it may be another matter in a moment. */
export function isPassing({ code }: Fault): boolean {
  return ["UNAVAILABLE", "CANCELLED", "INTERNAL"].includes(code);
}

/** Calls `seen` for each answer from the token on until the signal, or until it says OVER; reconnects by itself. */
export async function follow<Answer extends { pageToken: string }>(
  terminal: Terminal,
  hub: HubClient,
  from: string,
  open: Followed<Answer>,
  seen: (answer: Answer) => unknown,
  mayTryAgain: (error: Fault, token: string) => boolean = isPassing,
): Promise<void> {
  let token = from;
  for (let failures = 0; !terminal.signal.aborted; ) {
    const silence = new AbortController();
    const stop = () => silence.abort();
    terminal.signal.addEventListener("abort", stop, { once: true });
    try {
      const last = await hub.call(async () => {
        const stream = open(token, { signal: silence.signal, timeoutMs: 0 });
        for await (const answer of guarded(stream, terminal, silence)) {
          failures = 0;
          if ((await seen(answer)) === OVER) return OVER;
          token = answer.pageToken === "" ? token : answer.pageToken;
        }
        return undefined;
      });
      if (last === OVER) return;
    } catch (error) {
      if (terminal.signal.aborted) return;
      if (!(error instanceof Fault) || !mayTryAgain(error, token)) throw error;
      if (failures === 0) terminal.err(`${error.message}; trying again\n`);
    } finally {
      terminal.signal.removeEventListener("abort", stop);
    }
    await terminal.clock.sleep(fullJitter(RECONNECT, failures, terminal.random), terminal.signal);
    failures += 1;
  }
}

/** Ends a stream that shows no sign of life. */
async function* guarded<Answer>(
  stream: AsyncIterable<Answer>,
  { clock }: Terminal,
  silence: AbortController,
): AsyncGenerator<Answer> {
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const heard = new AbortController();
    void clock.sleep(SILENCE_MS_MAX, heard.signal).then(() => {
      if (!heard.signal.aborted) silence.abort();
    });
    try {
      const next = await iterator.next();
      if (next.done) return;
      yield next.value;
    } finally {
      heard.abort();
    }
  }
}
