import {
  create,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import {
  ServerReflectionRequestSchema as RequestV1Schema,
  ServerReflectionResponseSchema as ResponseV1Schema,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflection as ServerReflectionV1,
} from '@carillon/gen/grpc/reflection/v1/reflection_pb.ts';
import {
  ServerReflectionRequestSchema as RequestV1AlphaSchema,
  ServerReflectionResponseSchema as ResponseV1AlphaSchema,
  ServerReflection as ServerReflectionV1Alpha,
} from '@carillon/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Code, type ConnectRouter } from '@connectrpc/connect';

type Answer = NonNullable<MessageInitShape<typeof ResponseV1Schema>['messageResponse']>;

/** The protos that a server offers, as reflection serves them. */
export class ReflectionIndex {
  readonly #services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  /** Indexes the services' files and everything these import. */
  constructor(services: readonly DescService[]) {
    this.#services = services.map((service) => service.typeName).sort();
    for (const service of services) this.#add(service.file);
  }

  /** Answers one request; what does not exist is an error answer, not an error of the stream. */
  answer({ messageRequest: request }: ServerReflectionRequest): Answer {
    switch (request.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: this.#services.map((name) => ({ name })) } };
      case 'fileByFilename':
        return filesOf(this.#files.get(request.value), `file ${request.value}`);
      case 'fileContainingSymbol':
        return filesOf(this.#symbols.get(request.value), `symbol ${request.value}`);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = request.value;
        const file = this.#extensions.get(containingType)?.get(extensionNumber);
        return filesOf(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case 'allExtensionNumbersOfType':
        return {
          case: 'allExtensionNumbersResponse',
          value: {
            baseTypeName: request.value,
            extensionNumber: [...(this.#extensions.get(request.value)?.keys() ?? [])],
          },
        };
      default:
        return failure(Code.InvalidArgument, 'the request asks for nothing that this server knows');
    }
  }

  #add(file: DescFile): void {
    const name = file.proto.name;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const dependency of file.dependencies) this.#add(dependency);
    for (const service of file.services) {
      this.#symbols.set(service.typeName, file);
      for (const method of service.methods) this.#symbols.set(`${service.typeName}.${method.name}`, file);
    }
    this.#addNested(file, file);
  }

  #addNested(scope: Pick<DescFile, 'messages' | 'enums' | 'extensions'>, file: DescFile): void {
    for (const { typeName } of scope.enums) this.#symbols.set(typeName, file);
    for (const extension of scope.extensions) {
      this.#symbols.set(extension.typeName, file);
      const numbers = this.#extensions.get(extension.extendee.typeName) ?? new Map<number, DescFile>();
      this.#extensions.set(extension.extendee.typeName, numbers.set(extension.number, file));
    }
    for (const message of scope.messages) {
      this.#symbols.set(message.typeName, file);
      for (const field of message.fields) this.#symbols.set(`${message.typeName}.${field.name}`, file);
      this.#addNested(
        {
          messages: message.nestedMessages,
          enums: message.nestedEnums,
          extensions: message.nestedExtensions,
        },
        file,
      );
    }
  }
}

/** Adds gRPC server reflection, in the version that is current and in the one that older tools still ask for. */
export function addReflection(router: ConnectRouter, index: ReflectionIndex): void {
  router.service(ServerReflectionV1, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield reply(index, request);
    },
  });
  router.service(ServerReflectionV1Alpha, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        // The two versions are the same on the wire.
        const current = fromBinary(RequestV1Schema, toBinary(RequestV1AlphaSchema, request));
        yield fromBinary(ResponseV1AlphaSchema, toBinary(ResponseV1Schema, reply(index, current)));
      }
    },
  });
}

function reply(index: ReflectionIndex, request: ServerReflectionRequest): ServerReflectionResponse {
  return create(ResponseV1Schema, {
    validHost: request.host,
    originalRequest: request,
    messageResponse: index.answer(request),
  });
}

function filesOf(file: DescFile | undefined, wanted: string): Answer {
  if (file === undefined) return failure(Code.NotFound, `${wanted} not found`);
  const files = new Set<DescFile>();
  collect(file, files);
  const fileDescriptorProto = [...files].map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function collect(file: DescFile, into: Set<DescFile>): void {
  if (into.has(file)) return;
  into.add(file);
  for (const dependency of file.dependencies) collect(dependency, into);
}

function failure(errorCode: Code, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
