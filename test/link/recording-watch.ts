/** A watch of the link's listeners that writes down what it is told, one line each. */
import type { LinkWatch } from "../../hub/src/link/watch.ts";

export function recordingWatch(said: string[]): LinkWatch {
  const note = (...words: readonly string[]) => void said.push(words.join(" "));
  return {
    calmed: (listener, excess) => note("calmed", listener, excess),
    handshakeEnded: (listener, outcome) => note("handshake", listener, outcome),
    sessionOpened: () => note("opened"),
    sessionEnded: (reason) => note("ended", reason),
    written: (what) => note("written", what),
    telemetryEnded: (refused) => note("telemetry", refused),
  };
}
