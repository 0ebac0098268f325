/**
 * What must hold of a batch of usage before anything of it is believed: who made it, that it was not changed,
 * where in the chain it stands, and its bounds. Pure; what single records say is judged where they are stored.
 */
import type { KeyObject } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Batch,
  BatchSchema,
  type SignedBatch,
} from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { Fault } from "@holdfast/shared/fault.ts";
import { shown } from "@holdfast/shared/text.ts";
import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  isHeadSignedBy,
  nextHead,
} from "@holdfast/shared/usage.ts";

export type BatchSigner = Readonly<{
  /** API form, as the certificate says. */
  agentId: string;
  identityKey: KeyObject;
}>;

/**
 * The batch, once it is known to be the agent's own and whole.
 * Throws RESOURCE_EXHAUSTED `BATCH_TOO_LARGE`, INVALID_ARGUMENT `BATCH_MALFORMED`, PERMISSION_DENIED
 * `IDENTITY_MISMATCH` or `BATCH_SIGNATURE`.
 */
export function openBatch(signed: SignedBatch, signer: BatchSigner): Batch {
  if (signed.batch.length > BATCH_BYTES_MAX) {
    throw tooLarge(`${signed.batch.length} bytes; at most ${BATCH_BYTES_MAX}`);
  }
  const batch = parse(signed.batch);
  if (batch.agentId !== signer.agentId) {
    const message = `agent_id: got ${shown(batch.agentId)}; the certificate is for ${signer.agentId}`;
    throw new Fault("PERMISSION_DENIED", "IDENTITY_MISMATCH", message);
  }
  const head = nextHead(batch.previousHead, signed.batch);
  if (!Buffer.from(head).equals(signed.head)) {
    throw badSignature("the chain head does not follow from the batch");
  }
  if (!isHeadSignedBy(head, signed.signature, signer.identityKey)) {
    throw badSignature("the signature is not the identity key's of this agent");
  }
  checkShape(batch);
  return batch;
}

function parse(bytes: Uint8Array): Batch {
  try {
    return fromBinary(BatchSchema, bytes);
  } catch (cause) {
    throw malformed("not a batch", cause);
  }
}

/** The last number of a stream that the ledger can hold. */
const SEQ_MAX = 2n ** 63n - 1n;

function checkShape({ records, series, firstSeq, previousHead }: Batch): void {
  if (records.length > BATCH_RECORDS_MAX) {
    throw tooLarge(`${records.length} records; at most ${BATCH_RECORDS_MAX}`);
  }
  if (records.length === 0) throw malformed("no record");
  if (series.length > records.length) {
    throw malformed(`${series.length} series for ${records.length} records`);
  }
  if (previousHead.length !== 32) throw malformed(`previous_head has ${previousHead.length} bytes`);
  const last = firstSeq + BigInt(records.length - 1);
  if (last > SEQ_MAX) {
    throw malformed(`first_seq: got ${firstSeq}; allowed: numbers up to ${SEQ_MAX}`);
  }
  for (const [index, record] of records.entries()) {
    const expected = firstSeq + BigInt(index);
    if (record.seq !== expected) {
      throw malformed(`records[${index}].seq: got ${record.seq}; expected ${expected}`);
    }
    if (record.series >= series.length) {
      throw malformed(`records[${index}].series: got ${record.series} of ${series.length}`);
    }
    if (record.value.case === undefined) throw malformed(`records[${index}] has no value`);
  }
}

function tooLarge(message: string): Fault {
  return new Fault("RESOURCE_EXHAUSTED", "BATCH_TOO_LARGE", `batch: ${message}`);
}

function malformed(message: string, cause?: unknown): Fault {
  return new Fault("INVALID_ARGUMENT", "BATCH_MALFORMED", `batch: ${message}`, { cause });
}

function badSignature(message: string): Fault {
  return new Fault("PERMISSION_DENIED", "BATCH_SIGNATURE", `batch: ${message}`);
}
