/**
 * grpc.reflection.v1: lets grpcurl, buf curl and the like call the hub without its .proto files. Shows the
 * contracts only, which are public.
 */
import {
  create,
  createRegistry,
  type DescFile,
  type DescService,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "@holdfast/proto/grpc/reflection/v1/reflection_pb.js";
import { shown } from "@holdfast/shared/text.ts";

/** Requests answered on one stream; a client asks for each symbol once. */
const REQUESTS_MAX = 10_000;

type Answer = ServerReflectionResponse["messageResponse"];

export function reflectionService(
  services: readonly DescService[],
): Partial<ServiceImpl<typeof ServerReflection>> {
  const files = new Map<string, DescFile>();
  for (const service of services) gather(service.file, files);
  const registry = createRegistry(...files.values());
  const names = services.map(({ typeName }) => ({ name: typeName }));
  return {
    async *serverReflectionInfo(requests) {
      let answered = 0;
      for await (const request of requests) {
        answered += 1;
        if (answered > REQUESTS_MAX) return;
        yield create(ServerReflectionResponseSchema, {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(request, names, files, registry),
        });
      }
    },
  };
}

function gather(file: DescFile, into: Map<string, DescFile>): void {
  const name = file.proto.name;
  if (into.has(name)) return;
  into.set(name, file);
  for (const dependency of file.dependencies) gather(dependency, into);
}

function answer(
  { messageRequest }: ServerReflectionRequest,
  names: readonly { name: string }[],
  files: ReadonlyMap<string, DescFile>,
  registry: Registry,
): Answer {
  switch (messageRequest.case) {
    case "listServices":
      return listAnswer(names);
    case "fileByFilename":
      return fileAnswer(files.get(messageRequest.value), messageRequest.value);
    case "fileContainingSymbol":
      return fileAnswer(fileOfSymbol(messageRequest.value, registry), messageRequest.value);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = messageRequest.value;
      const found = extensionsOf(containingType, registry).find(
        ({ number }) => number === extensionNumber,
      );
      return fileAnswer(found?.file, `${containingType} ${extensionNumber}`);
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = messageRequest.value;
      const extensionNumber = extensionsOf(baseTypeName, registry).map(({ number }) => number);
      const value = { baseTypeName, extensionNumber };
      return {
        case: "allExtensionNumbersResponse",
        value: { ...emptyOf("allExtensionNumbersResponse"), ...value },
      };
    }
    default:
      return errorAnswer(Code.InvalidArgument, "the request asks for nothing");
  }
}

type Case = Exclude<Answer["case"], undefined>;
type ValueOf<C extends Case> = Extract<Answer, { case: C }>["value"];

/** An empty message of one answer's type: the oneof wants whole messages. */
function emptyOf<C extends Case>(name: C): ValueOf<C> {
  const field = ServerReflectionResponseSchema.field[name];
  if (field.fieldKind !== "message") throw new Error(`${name} is no message`);
  return create(field.message) as ValueOf<C>;
}

function listAnswer(names: readonly { name: string }[]): Answer {
  const service = names.map(
    ({ name }) => ({ $typeName: "grpc.reflection.v1.ServiceResponse", name }) as const,
  );
  return { case: "listServicesResponse", value: { ...emptyOf("listServicesResponse"), service } };
}

function fileAnswer(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return errorAnswer(Code.NotFound, `not found: ${shown(asked)}`);
  const bytes = new Map<string, Uint8Array>();
  closure(file, bytes);
  const fileDescriptorProto = [...bytes.values()];
  return {
    case: "fileDescriptorResponse",
    value: { ...emptyOf("fileDescriptorResponse"), fileDescriptorProto },
  };
}

/** The file and all that it imports, the file itself first. */
function closure(file: DescFile, into: Map<string, Uint8Array>): void {
  if (into.has(file.proto.name)) return;
  into.set(file.proto.name, toBinary(FileDescriptorProtoSchema, file.proto));
  for (const dependency of file.dependencies) closure(dependency, into);
}

/** A symbol may also be a member of what the registry knows: a method, a field, a value of an enum. */
function fileOfSymbol(symbol: string, registry: Registry): DescFile | undefined {
  const found = registry.get(symbol);
  if (found !== undefined) return found.file;
  const parent = registry.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf("."))));
  return parent?.file;
}

function extensionsOf(typeName: string, registry: Registry) {
  return [...registry].flatMap((each) =>
    each.kind === "extension" && each.extendee.typeName === typeName ? [each] : [],
  );
}

function errorAnswer(errorCode: Code, errorMessage: string): Answer {
  return {
    case: "errorResponse",
    value: { ...emptyOf("errorResponse"), errorCode, errorMessage },
  };
}

export { ServerReflection };
