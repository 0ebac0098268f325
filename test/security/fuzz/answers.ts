/** Sends raw calls over one HTTP/2 connection and reads what each protocol answers, in one form for all. */
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { AnySchema, anyUnpack } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema } from "@holdfast/proto/google/rpc/error_details_pb.js";
import type { RawCall } from "./calls.ts";

const ANSWER_MS_MAX = 30_000;

export type Answer = Readonly<{
  httpStatus: number;
  /** Of the canonical ones, in lower snake case; "ok"; undefined where HTTP alone answered. */
  code: string | undefined;
  /** ErrorInfo's, when it is ours. */
  reason: string | undefined;
  /** All that was said about the refusal. */
  said: string;
}>;

/** Answers come as they are. */
const PLAIN = {
  "accept-encoding": "identity",
  "grpc-accept-encoding": "identity",
  "connect-accept-encoding": "identity",
};

const GRPC_CODES = [
  ..."ok canceled unknown invalid_argument deadline_exceeded not_found already_exists".split(" "),
  ..."permission_denied resource_exhausted failed_precondition aborted out_of_range".split(" "),
  ..."unimplemented internal unavailable data_loss unauthenticated".split(" "),
];

export async function http2To(address: string): Promise<ClientHttp2Session> {
  const session = connect(`http://${address}`);
  await new Promise<void>((resolve, reject) => {
    session.once("connect", () => resolve());
    session.once("error", reject);
  });
  return session;
}

type Raw = Readonly<{ headers: IncomingHttpHeaders; trailers: IncomingHttpHeaders; body: Buffer }>;

export function send(
  session: ClientHttp2Session,
  { path, headers, body }: RawCall,
  token: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const authorization = token === "" ? {} : { authorization: `Bearer ${token}` };
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      ...PLAIN,
      ...headers,
      ...authorization,
    });
    const chunks: Buffer[] = [];
    let answered: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.setTimeout(ANSWER_MS_MAX, () => {
      reject(new Error(`no answer within ${ANSWER_MS_MAX} ms`));
      stream.close();
    });
    stream.on("response", (received) => {
      answered = received;
    });
    stream.on("trailers", (received) => {
      trailers = received;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      const body = Buffer.concat(chunks);
      try {
        resolve(answerOf({ headers: answered, trailers, body }));
      } catch (cause) {
        const what = `${JSON.stringify(answered)} ${body.toString().slice(0, 200)}`;
        reject(new Error(`an answer that cannot be read: ${what}`, { cause }));
      }
    });
    stream.end(body);
  });
}

function answerOf({ headers, trailers, body }: Raw): Answer {
  const httpStatus = Number(headers[":status"]);
  const type = String(headers["content-type"] ?? "");
  const plain = { httpStatus, code: undefined, reason: undefined, said: body.toString() };
  if (type.startsWith("application/grpc-web")) {
    const frames = framesOf(body);
    const last = frames.find(({ flags }) => (flags & 128) !== 0);
    if (last === undefined && headers["grpc-status"] === undefined) return plain;
    return ofGrpc(httpStatus, last === undefined ? headers : linesOf(last.data.toString()));
  }
  if (type.startsWith("application/grpc")) return ofGrpc(httpStatus, { ...headers, ...trailers });
  if (type.startsWith("application/connect+")) {
    const last = framesOf(body).find(({ flags }) => (flags & 2) !== 0);
    return last === undefined
      ? plain
      : ofConnect(httpStatus, JSON.parse(last.data.toString()).error);
  }
  if (httpStatus === 200) return { httpStatus, code: "ok", reason: undefined, said: "" };
  if (!type.startsWith("application/json")) return plain;
  return ofConnect(httpStatus, JSON.parse(body.toString()));
}

type ConnectFailure = Readonly<{
  code: string;
  message?: string;
  details?: readonly Readonly<{ type: string; value: string; debug?: unknown }>[];
}>;

function ofConnect(httpStatus: number, error: ConnectFailure | undefined): Answer {
  if (error === undefined) return { httpStatus, code: "ok", reason: undefined, said: "" };
  const info = error.details?.find(({ type }) => type === ErrorInfoSchema.typeName);
  const bytes = info === undefined ? undefined : Buffer.from(info.value, "base64");
  const reason = bytes === undefined ? undefined : ourReason(bytes);
  return { httpStatus, code: error.code, reason, said: JSON.stringify(error) };
}

function ofGrpc(httpStatus: number, headers: IncomingHttpHeaders): Answer {
  const code = GRPC_CODES[Number(headers["grpc-status"])];
  const message = decodeURIComponent(String(headers["grpc-message"] ?? ""));
  const details = headers["grpc-status-details-bin"];
  const bytes = details === undefined ? undefined : Buffer.from(String(details), "base64");
  const reason = bytes === undefined ? undefined : reasonInStatus(bytes);
  return { httpStatus, code, reason, said: `${message} ${bytes?.toString("latin1") ?? ""}` };
}

/** Number of google.rpc.Status.details. */
const DETAILS_FIELD = 3;

function reasonInStatus(bytes: Uint8Array): string | undefined {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== DETAILS_FIELD) {
      reader.skip(wireType, field);
      continue;
    }
    const info = anyUnpack(fromBinary(AnySchema, reader.bytes()), ErrorInfoSchema);
    if (info !== undefined) return info.domain === "holdfast.dev" ? info.reason : undefined;
  }
  return undefined;
}

function ourReason(bytes: Uint8Array): string | undefined {
  const { domain, reason } = fromBinary(ErrorInfoSchema, bytes);
  return domain === "holdfast.dev" ? reason : undefined;
}

function framesOf(body: Buffer): readonly Readonly<{ flags: number; data: Buffer }>[] {
  const frames = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    frames.push({ flags: body[at] ?? 0, data: body.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return frames;
}

function linesOf(text: string): IncomingHttpHeaders {
  const lines = text.split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(":")).trim(),
      line.slice(line.indexOf(":") + 1).trim(),
    ]),
  );
}
