/** Lines that wait as the chunks of a message: consecutive lines of one copy together, compressed where it pays. Pure. */
import { zstdCompressSync } from "node:zlib";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type LogChunkSchema,
  LogEncoding,
  LogLinesSchema,
} from "@holdfast/proto/holdfast/model/v1/telemetry_pb.js";

export type WaitingLine = Readonly<{
  instanceId: string;
  resource: string;
  /** Names the log for ever. */
  copy: string;
  timeMs: number;
  position: number;
  text: string;
  cutBytes: number;
}>;

/** Shorter data is not worth a frame. */
const COMPRESS_BYTES_MIN = 512;

export function chunksOf(
  lines: readonly WaitingLine[],
): readonly MessageInitShape<typeof LogChunkSchema>[] {
  const groups = new Map<string, WaitingLine[]>();
  for (const line of lines) {
    const key = `${line.instanceId}/${line.copy}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [line]);
    else group.push(line);
  }
  return [...groups.values()].map(chunkOf);
}

function chunkOf(lines: readonly WaitingLine[]): MessageInitShape<typeof LogChunkSchema> {
  const [first] = lines;
  const last = lines.at(-1);
  const times = lines.map(({ timeMs }) => timeMs);
  const plain = toBinary(
    LogLinesSchema,
    create(LogLinesSchema, {
      lines: lines.map(({ timeMs, position, text, cutBytes }) => ({
        ...{ timeMs: BigInt(timeMs), position: BigInt(position) },
        ...{ text, cutBytes: BigInt(cutBytes) },
      })),
    }),
  );
  const isWorth = plain.length >= COMPRESS_BYTES_MIN;
  return {
    instanceId: first?.instanceId ?? "",
    resource: first?.resource ?? "",
    copy: first?.copy ?? "",
    firstTimeMs: BigInt(Math.min(...times)),
    lastTimeMs: BigInt(Math.max(...times)),
    firstPosition: BigInt(first?.position ?? 0),
    lastPosition: BigInt(last?.position ?? 0),
    lineCount: lines.length,
    encoding: isWorth ? LogEncoding.ZSTD : LogEncoding.PLAIN,
    data: isWorth ? zstdCompressSync(plain) : plain,
  };
}
