/**
 * Whether the hub has the usage of an instance up to its last reading. Pure: all that was written before a mark must
 * have been accepted. A new epoch numbers the records anew, so the mark is set again, never earlier than it was.
 */
import type { StreamState } from "../metering/stream.ts";

export type UsageStream = Pick<StreamState, "epoch" | "nextSeq" | "acceptedSeq">;

/** The last record that counts, as it is numbered in an epoch. */
export type UsageMark = Readonly<{ epoch: bigint; seq: bigint }>;

export function markIn(mark: UsageMark | undefined, { epoch, nextSeq }: UsageStream): UsageMark {
  return mark?.epoch === epoch ? mark : { epoch, seq: nextSeq - 1n };
}

/** How many records are still to be accepted. */
export function waitingFor({ seq }: UsageMark, { acceptedSeq }: UsageStream): bigint {
  return seq > acceptedSeq ? seq - acceptedSeq : 0n;
}
