import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
} from '@carillon/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionV1Alpha } from '@carillon/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { ReflectionIndex } from './reflection.ts';
import { startServer } from './server-under-test.ts';

const NAME = 'projects/p/domains/d/schedules/s';
const buf = createRequire(import.meta.url).resolve('@bufbuild/buf/bin/buf');

/** `buf curl` without any protos of its own: what it knows it has from reflection. */
async function bufCurl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [buf, 'curl', ...args], { cwd: '/' });
  return stdout;
}

describe('buf curl', () => {
  const getSchedule = ({ name }: { name: string }) => ({ schedule: { name } });

  test.each([['grpc'], ['grpcweb'], ['connect']])('calls by reflection, %s', async (protocol) => {
    await using target = await startServer({ schedules: { getSchedule } });
    const url = `${target.url}/carillon.schedule.v1.ScheduleService/GetSchedule`;
    const flags = [
      '--http2-prior-knowledge',
      '--protocol',
      protocol,
      '--data',
      JSON.stringify({ name: NAME }),
    ];
    expect(JSON.parse(await bufCurl(...flags, url))).toEqual({ schedule: { name: NAME } });
  });

  test.each(['grpc-v1', 'grpc-v1alpha'])('lists and calls by %s', async (version) => {
    await using target = await startServer({ schedules: { getSchedule } });
    const flags = ['--http2-prior-knowledge', '--reflect-protocol', version];
    expect((await bufCurl(...flags, '--list-services', target.url)).trim().split('\n')).toEqual([
      'carillon.run.v1.RunService',
      'carillon.schedule.v1.ScheduleService',
      'grpc.health.v1.Health',
    ]);
    const health = await bufCurl(...flags, '--protocol', 'grpc', `${target.url}/grpc.health.v1.Health/Check`);
    expect(JSON.parse(health)).toEqual({ status: 'SERVING' });
  });
});

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest']>;

function ask(messageRequest: Question) {
  return new ReflectionIndex([ScheduleService]).answer(
    create(ServerReflectionRequestSchema, { messageRequest }),
  );
}

describe('ReflectionIndex', () => {
  test.each([
    'carillon.schedule.v1.ScheduleService',
    'carillon.schedule.v1.ScheduleService.GetSchedule',
    'carillon.schedule.v1.Schedule',
    'carillon.schedule.v1.Schedule.name',
    'carillon.schedule.v1.ScheduleState',
    'buf.validate.field',
    'google.protobuf.Timestamp',
  ])('finds %s, with everything its file imports', (value) => {
    const answer = ask({ case: 'fileContainingSymbol', value });
    if (answer.case !== 'fileDescriptorResponse') throw new Error(`answered ${answer.case}`);
    const files = (answer.value.fileDescriptorProto ?? []).map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    const names = new Set(files.map(({ name }) => name));
    for (const { dependency } of files) for (const name of dependency) expect(names).toContain(name);
  });

  test('finds files and extensions', () => {
    expect(ask({ case: 'fileByFilename', value: 'carillon/schedule/v1/schedule.proto' }).case).toBe(
      'fileDescriptorResponse',
    );
    const containingType = 'google.protobuf.FieldOptions';
    const numbers = ask({ case: 'allExtensionNumbersOfType', value: containingType });
    expect(numbers).toEqual({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: containingType, extensionNumber: expect.arrayContaining([1159]) },
    });
    const extension = ask({
      case: 'fileContainingExtension',
      value: { containingType, extensionNumber: 1159 },
    });
    expect(extension.case).toBe('fileDescriptorResponse');
  });

  test('what does not exist is an error answer', () => {
    for (const answer of [
      ask({ case: 'fileByFilename', value: 'nothing.proto' }),
      ask({ case: 'fileContainingSymbol', value: 'nothing.Nothing' }),
      ask({ case: 'fileContainingExtension', value: { containingType: 'a.B', extensionNumber: 1 } }),
    ]) {
      expect(answer).toMatchObject({ case: 'errorResponse', value: { errorCode: 5 } });
    }
    expect(ask({ case: undefined })).toMatchObject({ case: 'errorResponse', value: { errorCode: 3 } });
  });
});

test('the stream goes on after an error answer, in both versions', async () => {
  await using target = await startServer();
  const transport = createGrpcTransport({ baseUrl: target.url });
  async function* requests() {
    yield { messageRequest: { case: 'fileByFilename' as const, value: 'nothing.proto' } };
    yield { messageRequest: { case: 'listServices' as const, value: '' } };
  }
  for (const version of [ServerReflection, ServerReflectionV1Alpha]) {
    const cases: unknown[] = [];
    for await (const { messageResponse } of createClient(
      version as typeof ServerReflection,
      transport,
    ).serverReflectionInfo(requests())) {
      cases.push(messageResponse.case);
    }
    expect(cases).toEqual(['errorResponse', 'listServicesResponse']);
  }
});
