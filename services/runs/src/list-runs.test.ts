import { create } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunKind, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adHoc, refusal, type ServiceUnderTest, slot, startRuns, wholeSecond } from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;

/** Twelve runs over four days, in two projects. */
beforeAll(async () => {
  service = await startRuns(database);
  const requests = Array.from({ length: 12 }, (_, index) => {
    const project = index < 10 ? 'p' : 'q';
    return slot({
      parent: `projects/${project}/domains/d`,
      schedule: `projects/${project}/domains/d/schedules/${index % 2 === 0 ? 'even' : 'odd'}`,
      nominalTime: wholeSecond(index / 3),
      spec: create(RunSpecSchema, {
        task: index % 3 === 0 ? 'reports.daily' : 'ingest',
        queue: 'listed',
        labels: index % 4 === 0 ? { team: 'data', 'tier.x': 'gold' } : {},
        inputs: { content: { case: 'values', value: { index } } },
      }),
    });
  });
  const { results } = await service.runs.batchCreateRuns({ requests });
  expect(results.every(({ error }) => error === undefined)).toBe(true);
  await service.runs.createRun(adHoc({ parent: 'projects/p/domains/e' }));
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const all = 'projects/-/domains/-';

async function names(request: Parameters<ServiceUnderTest['runs']['listRuns']>[0]): Promise<string[]> {
  return (await service.runs.listRuns(request)).runs.map(({ name }) => name);
}

describe('ListRuns', () => {
  test.each([
    ['projects/p/domains/d', 10],
    ['projects/q/domains/d', 2],
    ['projects/-/domains/d', 12],
    ['projects/p/domains/-', 11],
    [all, 13],
    ['projects/none/domains/-', 0],
  ])('of %s has %i', async (parent, expected) => {
    expect(await names({ parent })).toHaveLength(expected);
  });

  test.each([
    ['nominal_time desc', (a: bigint, b: bigint) => a >= b, 'nominalTime'],
    ['', (a: bigint, b: bigint) => a >= b, 'nominalTime'],
    ['nominal_time', (a: bigint, b: bigint) => a <= b, 'nominalTime'],
    ['create_time', (a: bigint, b: bigint) => a <= b, 'createTime'],
    ['create_time desc', (a: bigint, b: bigint) => a >= b, 'createTime'],
  ] as const)(
    'ordered by "%s" goes through all pages in order, each run once',
    async (orderBy, inOrder, field) => {
      const seen: string[] = [];
      const times: bigint[] = [];
      for (let pageToken = ''; ; ) {
        const page = await service.runs.listRuns({ parent: all, orderBy, pageSize: 3, pageToken });
        expect(page.runs.length).toBeLessThanOrEqual(3);
        seen.push(...page.runs.map(({ name }) => name));
        times.push(
          ...page.runs.map(
            (run) => (run[field]?.seconds ?? 0n) * 1_000_000_000n + BigInt(run[field]?.nanos ?? 0),
          ),
        );
        // What is added meanwhile does not disturb the pages that follow.
        await service.runs.createRun(
          slot({ parent: 'projects/z/domains/d', schedule: 'projects/z/domains/d/schedules/s' }),
        );
        pageToken = page.nextPageToken;
        if (pageToken === '') break;
      }
      const before = seen.filter((name) => !name.startsWith('projects/z/'));
      expect(before).toHaveLength(13);
      expect(new Set(seen).size).toBe(seen.length);
      expect(times.slice(1).every((time, index) => inOrder(times[index] ?? 0n, time))).toBe(true);
    },
  );

  test.each([
    ['schedule = projects/p/domains/d/schedules/even', 5],
    ['schedule != "projects/p/domains/d/schedules/even"', 7],
    ['task = reports.daily', 4],
    ['task = rep*', 4],
    ['task != reports.daily', 8],
    ['queue = listed AND labels.team = data', 3],
    ['labels."tier.x" = gold', 3],
    ['labels.team != data', 9],
    ['phase = QUEUED', 12],
    ['phase != QUEUED', 0],
    ['kind = SLOT', 12],
    ['kind = AD_HOC', 0],
    ['task = "\'; drop table runs; --"', 0],
  ])('with the filter %s has %i', async (filter, expected) => {
    const found = await names({ parent: all, filter: `${filter} AND queue = listed`, pageSize: 1_000 });
    expect(found).toHaveLength(expected);
  });

  test('with bounds of time has what lies between', async () => {
    const iso = (daysAgo: number) => new Date(Number(wholeSecond(daysAgo).seconds) * 1000).toISOString();
    const filter = `nominal_time >= "${iso(2.1)}" AND nominal_time < "${iso(0.9)}" AND queue = listed`;
    expect(await names({ parent: all, filter })).toHaveLength(4);
    expect(await names({ parent: all, filter: `create_time < "${iso(0.5)}"` })).toEqual([]);
  });

  test('leaves inputs and output out', async () => {
    const { runs } = await service.runs.listRuns({ parent: all, filter: 'queue = listed' });
    expect(runs.every(({ spec, output }) => spec?.inputs === undefined && output === undefined)).toBe(true);
    expect(runs[0]?.kind).toBe(RunKind.SLOT);
  });

  test.each([
    [{ filter: 'colour = red' }, 'filter'],
    [{ filter: 'phase = DONE' }, 'filter'],
    [{ filter: 'phase > QUEUED' }, 'filter'],
    [{ filter: 'schedule = even' }, 'filter'],
    [{ filter: 'schedule < projects/p/domains/d/schedules/s' }, 'filter'],
    [{ filter: 'schedule.x = y' }, 'filter'],
    [{ filter: 'nominal_time > yesterday' }, 'filter'],
    [{ filter: 'task = a OR task = b' }, 'filter'],
    [{ pageToken: 'nonsense' }, 'page_token'],
    [{ orderBy: 'task' }, 'order_by'],
    [{ pageSize: -1 }, 'page_size'],
    [{ parent: 'projects/p' }, 'parent'],
  ])('refuses %o', async (request, field) => {
    const error = await refusal(service.runs.listRuns({ parent: all, ...request }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain(field);
  });

  test('refuses the page token of another request', async () => {
    const { nextPageToken } = await service.runs.listRuns({ parent: all, pageSize: 1 });
    for (const other of [
      { parent: 'projects/p/domains/-' },
      { filter: 'kind = SLOT' },
      { orderBy: 'create_time' },
    ]) {
      const error = await refusal(
        service.runs.listRuns({ parent: all, pageSize: 1, pageToken: nextPageToken, ...other }),
      );
      expect(error.rawMessage).toContain('page_token');
    }
    expect(
      (await service.runs.listRuns({ parent: all, pageSize: 5, pageToken: nextPageToken })).runs,
    ).toHaveLength(5);
  });
});
