/** What a simulated fleet tells of itself while it runs. Times are wall-clock milliseconds with their fractions. */

export type SimEvent =
  /** A welcome of the hub was taken. */
  | Readonly<{ type: "connected"; agent: string; at: number }>
  /**
   * An assignment that is new to the agent, once both signatures were found good. `receivedAt`: it came off the wire;
   * `digest` and `bytes` are those of its payload, `generation` is incarnation.number.
   */
  | Readonly<{
      type: "offered";
      agent: string;
      instanceId: string;
      generation: string;
      digest: string;
      bytes: number;
      receivedAt: number;
      at: number;
    }>
  | Readonly<{ type: "refused"; agent: string; instanceId: string; reason: string; at: number }>
  /** A session that was up ended, and not because the simulator ended it. */
  | Readonly<{ type: "dropped"; agent: string; message: string; at: number }>
  /** A try to connect failed; the agent goes on trying. */
  | Readonly<{ type: "unreachable"; agent: string; message: string; at: number }>
  | Readonly<{ type: "acknowledged"; agent: string; records: number; at: number }>;

export type Tell = (event: SimEvent) => void;

/** Microseconds matter where a fleet is measured. */
export type WallClock = () => number;
