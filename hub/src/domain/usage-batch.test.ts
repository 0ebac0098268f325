/** Which batches are an agent's own and whole. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type Batch,
  BatchSchema,
  SignedBatchSchema,
} from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { rawPublicKeyOf, signingKey, verificationKey } from "@holdfast/shared/dsse.ts";
import { FIRST_HEAD, nextHead, signHead } from "@holdfast/shared/usage.ts";
import { describe, expect, it } from "vitest";
import { openBatch } from "./usage-batch.ts";

const { privateKey } = signingKey(new Uint8Array(32).fill(1));
const signer = {
  agentId: "agt_1",
  identityKey: verificationKey(rawPublicKeyOf(privateKey)).publicKey,
};

const record = (seq: bigint, change = {}) => ({
  seq,
  series: 0,
  windowStartMs: 0n,
  windowEndMs: 60_000n,
  value: { case: "counter" as const, value: { value: 5n } },
  ...change,
});

function signed(change: Partial<Omit<Batch, "$typeName">> = {}, by = privateKey) {
  const batch = create(BatchSchema, {
    agentId: "agt_1",
    epoch: 1n,
    incarnation: 1n,
    firstSeq: 1n,
    previousHead: FIRST_HEAD,
    series: [{ instanceId: "ins_1", meter: "rows", seatId: "sea_1", source: "d" }],
    records: [record(1n), record(2n)],
    ...(change as object),
  });
  const bytes = toBinary(BatchSchema, batch);
  const head = nextHead(batch.previousHead, bytes);
  return create(SignedBatchSchema, { batch: bytes, head, signature: signHead(head, by) });
}

describe("openBatch", () => {
  it("takes what the agent signed", () => {
    expect(openBatch(signed(), signer).records).toHaveLength(2);
  });

  it.each([
    { it: "another agent's id", batch: signed({ agentId: "agt_2" }), reason: "IDENTITY_MISMATCH" },
    {
      it: "another key's signature",
      batch: signed({}, signingKey(new Uint8Array(32).fill(2)).privateKey),
      reason: "BATCH_SIGNATURE",
    },
    {
      it: "bytes that were changed",
      batch: create(SignedBatchSchema, { ...signed(), batch: signed({ epoch: 2n }).batch }),
      reason: "BATCH_SIGNATURE",
    },
    {
      it: "a hole in the numbers",
      batch: signed({ records: [record(1n), record(3n)] as never }),
      reason: "BATCH_MALFORMED",
    },
    {
      it: "a series that is not there",
      batch: signed({ records: [record(1n, { series: 1 })] as never }),
      reason: "BATCH_MALFORMED",
    },
    {
      it: "a record without a value",
      batch: signed({ records: [record(1n, { value: { case: undefined } })] as never }),
      reason: "BATCH_MALFORMED",
    },
    {
      it: "seq 2^64-1",
      batch: signed({ firstSeq: 2n ** 64n - 1n, records: [record(2n ** 64n - 1n)] as never }),
      reason: "BATCH_MALFORMED",
    },
    {
      it: "numbers beyond what a ledger holds",
      batch: signed({ firstSeq: 2n ** 63n, records: [record(2n ** 63n)] as never }),
      reason: "BATCH_MALFORMED",
    },
    { it: "no record", batch: signed({ records: [], series: [] }), reason: "BATCH_MALFORMED" },
    {
      it: "more than a thousand records",
      batch: signed({
        records: Array.from({ length: 1_001 }, (_, i) => record(BigInt(i + 1))) as never,
      }),
      reason: "BATCH_TOO_LARGE",
    },
    {
      it: "what is no batch",
      batch: create(SignedBatchSchema, { batch: new Uint8Array([255, 255]) }),
      reason: "BATCH_MALFORMED",
    },
    {
      it: "more bytes than a batch may have",
      batch: create(SignedBatchSchema, { batch: new Uint8Array(600_000) }),
      reason: "BATCH_TOO_LARGE",
    },
  ])("refuses $it", ({ batch, reason }) => {
    expect(() => openBatch(batch, signer)).toThrow(expect.objectContaining({ reason }));
  });
});
