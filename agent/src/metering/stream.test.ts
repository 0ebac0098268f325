/** What the agent makes of the hub's answer to an opening. */
import { OpenedReason } from "@holdfast/proto/holdfast/link/v1/link_pb.js";
import { describe, expect, it } from "vitest";
import { judgeOpened } from "./stream.ts";

const head = (byte: number) => new Uint8Array(32).fill(byte);
const state = {
  epoch: 3n,
  incarnation: 1n,
  nextSeq: 31n,
  acceptedSeq: 10n,
  acceptedHead: head(10),
};
const sent = [
  { firstSeq: 11n, lastSeq: 20n, head: head(20) },
  { firstSeq: 21n, lastSeq: 30n, head: head(30) },
];
const resumed = (acceptedSeq: bigint, byte: number, change = {}) => ({
  reason: OpenedReason.RESUMED,
  epoch: 3n,
  incarnation: 1n,
  acceptedSeq,
  acceptedHead: head(byte),
  ...change,
});

describe("judgeOpened", () => {
  it.each([
    { it: "resumes where it knew the hub to be", opened: resumed(10n, 10), kind: "resume" },
    { it: "resumes after a lost acknowledgement", opened: resumed(20n, 20), kind: "resume" },
    { it: "resumes after two of them", opened: resumed(30n, 30), kind: "resume" },
    {
      it: "distrusts a position that it never sent: this store was rolled back",
      opened: resumed(25n, 25),
      kind: "distrust",
    },
    {
      it: "distrusts a known position with another chain: this store was rolled back and went on",
      opened: resumed(20n, 99),
      kind: "distrust",
    },
    {
      it: "distrusts another epoch",
      opened: resumed(10n, 10, { epoch: 2n }),
      kind: "distrust",
    },
    {
      it: "distrusts another life of the hub",
      opened: resumed(10n, 10, { incarnation: 2n }),
      kind: "distrust",
    },
    {
      it: "starts a new epoch when the hub says so",
      opened: resumed(0n, 0, { reason: OpenedReason.NEW_EPOCH, epoch: 4n }),
      kind: "renumber",
    },
  ])("$it", ({ opened, kind }) => {
    expect(judgeOpened(state, sent, opened).kind).toBe(kind);
  });
});
