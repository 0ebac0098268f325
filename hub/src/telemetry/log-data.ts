/** The lines of a chunk from its bytes, and the check that they are what was stored. Pure; bounded by what a chunk may be. */
import { crc32, zstdDecompressSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import {
  LogEncoding,
  type LogLine,
  LogLinesSchema,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";

/** A chunk's lines before compression; see telemetry.proto. */
export const CHUNK_BYTES_MAX = 256 * 1024;

export function checksumOf(data: Uint8Array): number {
  return crc32(data);
}

/**
 * The lines; undefined for bytes that are no lines, whoever wrote them. None where no line can hold the text: its
 * bytes stand in a message as they are, so the lines need not be taken apart to see that.
 */
export function linesOf(
  encoding: number,
  data: Uint8Array,
  contains: string,
): readonly LogLine[] | undefined {
  try {
    const plain = plainOf(encoding, data);
    if (plain === undefined) return undefined;
    const isHopeless =
      contains !== "" &&
      !Buffer.from(plain.buffer, plain.byteOffset, plain.length).includes(contains);
    return isHopeless ? [] : fromBinary(LogLinesSchema, plain).lines;
  } catch {
    return undefined;
  }
}

function plainOf(encoding: number, data: Uint8Array): Uint8Array | undefined {
  if (encoding === LogEncoding.PLAIN) return data;
  if (encoding !== LogEncoding.ZSTD) return undefined;
  return new Uint8Array(zstdDecompressSync(data, { maxOutputLength: CHUNK_BYTES_MAX }));
}
