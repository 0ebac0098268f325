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

/** The lines; undefined for bytes that are no lines, whoever wrote them. */
export function linesOf(encoding: number, data: Uint8Array): readonly LogLine[] | undefined {
  try {
    if (encoding === LogEncoding.PLAIN) return fromBinary(LogLinesSchema, data).lines;
    if (encoding !== LogEncoding.ZSTD) return undefined;
    const plain = zstdDecompressSync(data, { maxOutputLength: CHUNK_BYTES_MAX });
    return fromBinary(LogLinesSchema, new Uint8Array(plain)).lines;
  } catch {
    return undefined;
  }
}
