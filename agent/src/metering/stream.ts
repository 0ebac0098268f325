/**
 * The agent's end of the usage protocol, as decisions without effects.
 *
 * A stream is (epoch, seq): the hub gives the epoch, the agent numbers records from 1 on. Resumed: the hub's
 * position must be one that this agent remembers having sent, with the same chain head; otherwise this store
 * was rolled back or copied, and the agent asks for a new epoch. New epoch: everything kept that the hub does
 * not have yet is numbered anew. Nothing is deleted but by the rules of retention.
 */
import { type Opened, OpenedReason } from "@holdfast/proto/holdfast/link/v1/link_pb.js";

export type StreamState = Readonly<{
  /** 0: none yet, or the present one is not to be trusted. */
  epoch: bigint;
  incarnation: bigint;
  nextSeq: bigint;
  acceptedSeq: bigint;
  acceptedHead: Uint8Array;
}>;

/** A batch that was handed out and not yet acknowledged. */
export type SentBatch = Readonly<{ firstSeq: bigint; lastSeq: bigint; head: Uint8Array }>;

export type OpenedDecision =
  | Readonly<{ kind: "resume"; acceptedSeq: bigint; acceptedHead: Uint8Array }>
  | Readonly<{ kind: "renumber"; epoch: bigint; incarnation: bigint }>
  /** Forget the epoch and ask again. */
  | Readonly<{ kind: "distrust"; why: string }>;

export function judgeOpened(
  state: StreamState,
  sent: readonly SentBatch[],
  opened: Pick<Opened, "reason" | "epoch" | "incarnation" | "acceptedSeq" | "acceptedHead">,
): OpenedDecision {
  if (opened.reason === OpenedReason.NEW_EPOCH) {
    return { kind: "renumber", epoch: opened.epoch, incarnation: opened.incarnation };
  }
  if (opened.epoch !== state.epoch || opened.incarnation !== state.incarnation) {
    return { kind: "distrust", why: "the hub resumes an epoch that is not this stream's" };
  }
  const known = [
    { lastSeq: state.acceptedSeq, head: state.acceptedHead },
    ...sent.map(({ lastSeq, head }) => ({ lastSeq, head })),
  ];
  const same = known.find(({ lastSeq }) => lastSeq === opened.acceptedSeq);
  if (same === undefined || !Buffer.from(same.head).equals(opened.acceptedHead)) {
    return { kind: "distrust", why: "the hub accepted records that this store did not send" };
  }
  return { kind: "resume", acceptedSeq: opened.acceptedSeq, acceptedHead: same.head };
}
