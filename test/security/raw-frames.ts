/**
 * HTTP/2 as bytes, for what no library sends: a thousand frames in one write, whatever was answered (RFC 9113, 4 and
 * 6). Reads no more than how the peer ends it.
 */
import type { Duplex } from "node:stream";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const HEADER_BYTES = 9;
const [HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY] = [1, 3, 4, 6, 7];
const END_HEADERS = 4;
/** `:method: POST`, `:scheme: https`, `:path: /` of the static table, and an authority (RFC 7541, appendix A and 6.2.2). */
const POST = Buffer.concat([Buffer.from([0x83, 0x87, 0x84, 0x01, 3]), Buffer.from("hub")]);
const CANCEL = Buffer.from([0, 0, 0, 8]);

function frame(type: number | undefined, flags: number, stream: number, payload: Uint8Array) {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type ?? 0, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** What a client says first. */
export const GREETING = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, new Uint8Array())]);

/** `count` calls from the `from`th on, each taken back in the same breath. */
export function rapidResets(count: number, from = 0): Buffer {
  const pairs = Array.from({ length: count }, (_, n) => {
    const stream = 2 * (from + n) + 1;
    return [frame(HEADERS, END_HEADERS, stream, POST), frame(RST_STREAM, 0, stream, CANCEL)];
  });
  return Buffer.concat(pairs.flat());
}

export function pings(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => frame(PING, 0, 0, Buffer.alloc(8))));
}

export type Ending = Readonly<{ code: number; why: string }>;

/** The first GOAWAY of the peer, once the connection is closed; undefined without one. */
export async function endingOf(connection: Duplex): Promise<Ending | undefined> {
  const chunks: Buffer[] = [];
  connection.on("data", (chunk: Buffer) => chunks.push(chunk));
  connection.on("error", () => undefined);
  await new Promise((resolve) => connection.once("close", resolve));
  for (let rest = Buffer.concat(chunks); rest.length >= HEADER_BYTES; ) {
    const end = HEADER_BYTES + rest.readUIntBE(0, 3);
    const payload = rest.subarray(HEADER_BYTES, end);
    if (rest[3] === GOAWAY) {
      return { code: payload.readUInt32BE(4), why: payload.toString("utf8", 8) };
    }
    rest = rest.subarray(end);
  }
  return undefined;
}
