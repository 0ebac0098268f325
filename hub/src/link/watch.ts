/** What the listeners of agents say of themselves while they run: to be counted, never to be decided by. */

export type LinkWatch = Readonly<{
  /** `refused`: by admission, before any cryptography. `failed`: by TLS. */
  handshakeEnded(listener: "link" | "identity", outcome: "done" | "refused" | "failed"): void;
  /** A connection was ended that asked for too much of it. */
  calmed(listener: "link" | "identity", excess: "pings" | "resets"): void;
  sessionOpened(): void;
  /** By the fault's reason; empty: the agent has gone, or was told to come back. */
  sessionEnded(reason: string): void;
  /** Written to a control stream. */
  written(what: "offer" | "note"): void;
  /** By the reason of the refusal; empty: kept. */
  telemetryEnded(refused: string): void;
}>;

export const UNWATCHED: LinkWatch = {
  handshakeEnded: () => undefined,
  calmed: () => undefined,
  sessionOpened: () => undefined,
  sessionEnded: () => undefined,
  written: () => undefined,
  telemetryEnded: () => undefined,
};
