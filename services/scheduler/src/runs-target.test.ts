import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createRouterTransport } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { createRunsTarget } from './runs-target.ts';

test('a probe tells what stands under each name, what does not, and what cannot be told', async () => {
  const transport = createRouterTransport(({ service }) => {
    service(RunService, {
      batchGetRuns: ({ requests, probe }) => {
        expect(probe).toBe(true);
        const run = { scheduleUid: 'u', nominalTime: timestampFromMs(60_000), outcome: RunOutcome.SKIPPED };
        const [there, absent, old] = requests.map(({ name }) => ({ name }));
        return { results: [{ ...there, run }, { ...absent }, { ...old, beyondRetention: true }] };
      },
    });
  });
  const names = ['there', 'absent', 'old'].map((name) => ({ name, nominalMs: 60_000 }));
  expect(await createRunsTarget(transport).probe(names, 1_000)).toEqual([
    { scheduleUid: 'u', nominalMs: 60_000, skipped: true },
    undefined,
    'BEYOND_RETENTION',
  ]);
});
