/**
 * What both ends of the usage protocol must compute alike: the identity of a series, the chain over batches,
 * and what an agent signs.
 */
import { type KeyObject, sign, verify } from "node:crypto";
import type { Series } from "@holdfast/proto/holdfast/model/v1/reading_pb.js";
import { sha256 } from "./digest.ts";

/** Records in one batch at most (bad input row 59). */
export const BATCH_RECORDS_MAX = 1_000;
/** Bytes of one serialised batch at most. */
export const BATCH_BYTES_MAX = 512 * 1024;
/** Chain head at the start of an epoch. */
export const FIRST_HEAD: Uint8Array = new Uint8Array(32);

const SIGNED_PREFIX = "holdfast.batch.v1";

export type SeriesIdentity = Pick<
  Series,
  "instanceId" | "resource" | "source" | "meter" | "dimensions" | "seatId"
>;

/** SHA-256 over a JSON array of the fields, dimensions in order of their names: 32 bytes. */
export function seriesDigest(series: SeriesIdentity): Uint8Array {
  const dimensions = Object.entries(series.dimensions).sort(([a], [b]) => (a < b ? -1 : 1));
  const { instanceId, resource, source, meter, seatId } = series;
  return sha256(JSON.stringify([instanceId, resource, source, meter, seatId, dimensions]));
}

/** Head of the chain after a batch: SHA-256 of the head before it and the SHA-256 of its bytes. */
export function nextHead(previousHead: Uint8Array, batch: Uint8Array): Uint8Array {
  return sha256(previousHead, sha256(batch));
}

/** `identityKey` is the agent's Ed25519 private key. */
export function signHead(head: Uint8Array, identityKey: KeyObject): Uint8Array {
  return sign(null, Buffer.concat([Buffer.from(SIGNED_PREFIX), head]), identityKey);
}

export function isHeadSignedBy(
  head: Uint8Array,
  signature: Uint8Array,
  identityKey: KeyObject,
): boolean {
  return verify(null, Buffer.concat([Buffer.from(SIGNED_PREFIX), head]), identityKey, signature);
}
