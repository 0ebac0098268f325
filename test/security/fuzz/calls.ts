/** Calls of each protocol as headers and a body, well framed and badly; nothing here knows what they answer. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Random } from "@holdfast/shared/clock.ts";
import { bytesOf, damagedBytes } from "./binary.ts";
import { pick, randomBytes } from "./chance.ts";
import { damagedJson, jsonOf, type Shape } from "./json.ts";

export const PROTOCOLS = ["connect-json", "connect-proto", "grpc", "grpc-web"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export type RawCall = Readonly<{
  path: string;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}>;

/** Streams of the API end with this, since nobody else ends them. */
const STREAM_MS = 150;

export function callOf(method: DescMethod, protocol: Protocol, shape: Shape): RawCall {
  const { random } = shape;
  const isStream = method.methodKind !== "unary";
  const isJson = protocol === "connect-json" || (protocol !== "connect-proto" && random() < 0.15);
  const message = messageOf(method, isJson, shape);
  const isFramed = isStream || protocol.startsWith("grpc");
  const type = contentTypeOf(protocol, isJson, isStream);
  const path = `/${method.parent.typeName}/${method.name}`;
  const headers: Record<string, string> = { "content-type": type };
  if (protocol === "grpc") headers["te"] = "trailers";
  const timeout = protocol.startsWith("connect") ? "connect-timeout-ms" : "grpc-timeout";
  if (isStream) headers[timeout] = timeout === "grpc-timeout" ? `${STREAM_MS}m` : `${STREAM_MS}`;
  const call = { path, headers, body: isFramed ? framed(0, message) : message };
  const encoding = isFramed
    ? protocol.startsWith("grpc")
      ? "grpc-encoding"
      : "connect-content-encoding"
    : "content-encoding";
  if (random() < 0.8) return call;
  return { path, ...damaged(call, message, { random, encoding, timeout, isFramed }) };
}

/** Larger ones are for tests of that limit; many of them at once would only measure the connection's. */
const BYTES_MAX = 512 * 1024;

function messageOf(method: DescMethod, isJson: boolean, shape: Shape): Uint8Array {
  return anyMessage(method, isJson, shape).subarray(0, BYTES_MAX);
}

function anyMessage(method: DescMethod, isJson: boolean, shape: Shape): Uint8Array {
  const { random } = shape;
  if (!isJson) {
    const bytes = bytesOf(method.input, shape);
    return random() < 0.25 ? damagedBytes(bytes, random) : bytes;
  }
  const text = JSON.stringify(jsonOf(method.input, shape));
  const bytes = Buffer.from(random() < 0.25 ? damagedJson(text, random) : text);
  return random() < 0.03 ? Buffer.concat([bytes, Uint8Array.of(0xc3, 0x28)]) : bytes;
}

function contentTypeOf(protocol: Protocol, isJson: boolean, isStream: boolean): string {
  const codec = isJson ? "json" : "proto";
  if (protocol === "grpc") return `application/grpc+${codec}`;
  if (protocol === "grpc-web") return `application/grpc-web+${codec}`;
  return isStream ? `application/connect+${codec}` : `application/${codec}`;
}

/** One message of a stream (flag 1: compressed, 2 and 128: the end). */
export function framed(flags: number, message: Uint8Array, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length >>> 0, 1);
  return Buffer.concat([head, message]);
}

type Framing = Readonly<{ random: Random; encoding: string; timeout: string; isFramed: boolean }>;

const BOMB = gzipSync(new Uint8Array(32 * 1024 * 1024));

function damaged(
  { headers, body }: Pick<RawCall, "headers" | "body">,
  message: Uint8Array,
  { random, encoding, timeout, isFramed }: Framing,
): Pick<RawCall, "headers" | "body"> {
  const compressed = (bytes: Uint8Array) => (isFramed ? framed(1, bytes) : bytes);
  const encoded = (name: string, bytes: Uint8Array) => {
    return { headers: { ...headers, [encoding]: name }, body: compressed(bytes) };
  };
  const gzipped = gzipSync(message);
  return pick(random, [
    () => encoded("gzip", gzipped),
    () => encoded("br", brotliCompressSync(message)),
    () => encoded("gzip", gzipped.subarray(0, gzipped.length / 2)),
    () => encoded("gzip", message),
    () => encoded("br", randomBytes(random, 50)),
    () => encoded("gzip", random() < 0.2 ? BOMB : gzipped),
    () => encoded("zstd", message),
    () => ({ headers, body: framed(pick(random, [1, 2, 3, 128, 129, 255]), message) }),
    () => ({ headers, body: framed(0, message, message.length + 7) }),
    () => ({ headers, body: framed(0, message, 0xffff_ffff) }),
    () => ({ headers, body: Buffer.concat([body, body]) }),
    () => ({ headers, body: body.subarray(0, Math.floor(body.length * random())) }),
    () => ({ headers, body: new Uint8Array() }),
    () => ({ headers, body: randomBytes(random, 64) }),
    () => ({ headers: { ...headers, "content-type": pick(random, CONTENT_TYPES) }, body }),
    () => {
      const isStream = headers[timeout] !== undefined;
      const values = isStream ? TIMEOUTS : [...TIMEOUTS, BLANK_TIMEOUT];
      return { headers: { ...headers, [timeout]: pick(random, values) }, body };
    },
  ])();
}

const CONTENT_TYPES = [
  "text/plain",
  "application/xml",
  "application/grpc+thrift",
  "application/json; charset=utf-16",
  "multipart/form-data; boundary=x",
  "x",
];
const TIMEOUTS = ["-1", "1e3", "NaN", "99999999999999", "1", "1S", "0m", "999999999H", "1n"];
/** Counts as none: a stream would go on for ever, as it should. */
const BLANK_TIMEOUT = " ";
