/**
 * Turns a generated service descriptor into the plain service definition that grpc-js works with, on both
 * ends of the link. Bytes that are already serialised pass through untouched: what is stored signed is
 * framed and written, never encoded again.
 */
import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";

/** A message, or its finished bytes. */
export type Encodable<Value> = Value | Uint8Array;

/** One method in the shape of a grpc-js MethodDefinition. */
export type GrpcMethod<Request, Response> = Readonly<{
  path: string;
  requestStream: boolean;
  responseStream: boolean;
  requestSerialize: (value: Encodable<Request>) => Buffer;
  requestDeserialize: (bytes: Buffer) => Request;
  responseSerialize: (value: Encodable<Response>) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
  originalName: string;
}>;

export type GrpcService<Methods extends GenServiceMethods> = {
  readonly [Name in keyof Methods]: GrpcMethod<
    MessageShape<Methods[Name]["input"]>,
    MessageShape<Methods[Name]["output"]>
  >;
};

export function grpcService<Methods extends GenServiceMethods>(
  service: GenService<Methods>,
): GrpcService<Methods> {
  const methods = service.methods.map((method) => [
    method.localName,
    methodDefinition(service, method),
  ]);
  return Object.fromEntries(methods);
}

function methodDefinition(service: DescService, method: DescMethod): GrpcMethod<Message, Message> {
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream:
      method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream:
      method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: (value) => encode(method.input, value),
    requestDeserialize: (bytes) => fromBinary(method.input, plain(bytes)),
    responseSerialize: (value) => encode(method.output, value),
    responseDeserialize: (bytes) => fromBinary(method.output, plain(bytes)),
    originalName: method.localName,
  };
}

function encode(schema: DescMessage, value: Encodable<Message>): Buffer {
  const bytes = value instanceof Uint8Array ? value : toBinary(schema, value);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Fields of bytes are cut out of what is read: as a Buffer they would not equal those of other messages. */
function plain(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
