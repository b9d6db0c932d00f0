import { create } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { CronSchema, type Schedule } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { BadRequestSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusal, type ServiceUnderTest, specOf, startSchedules } from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
beforeAll(async () => {
  service = await startSchedules(database);
});
afterAll(async () => service[Symbol.asyncDispose]());

interface Options {
  readonly labels?: Record<string, string>;
  readonly task?: string;
  readonly timeZone?: string;
  readonly inactive?: boolean;
  readonly inputBytes?: number;
}

async function add(
  project: string,
  domain: string,
  scheduleId: string,
  options: Options = {},
): Promise<string> {
  const { labels = {}, task = 't', timeZone = '', inactive = false, inputBytes = 0 } = options;
  const inputs = { content: { case: 'data' as const, value: new Uint8Array(inputBytes) } };
  const spec = specOf({
    pattern: { case: 'cron', value: create(CronSchema, { expression: '0 * * * *', timeZone }) },
    run: create(RunSpecSchema, { task, ...(inputBytes > 0 ? { inputs } : {}) }),
  });
  const parent = `projects/${project}/domains/${domain}`;
  const { schedule } = await service.client.createSchedule({
    parent,
    scheduleId,
    schedule: { spec, labels },
    inactive,
  });
  return schedule!.name;
}

type ListRequest = Parameters<typeof service.client.listSchedules>[0];

async function listed(request: ListRequest): Promise<string[]> {
  return (await all(request)).map(({ name }) => name.replace(/projects\/|domains\/|schedules\//g, ''));
}

async function all(request: ListRequest): Promise<Schedule[]> {
  const found: Schedule[] = [];
  let pageToken = '';
  do {
    const page = await service.client.listSchedules({ ...request, pageToken });
    found.push(...page.schedules);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
}

describe('lists', () => {
  beforeAll(async () => {
    await add('p1', 'd1', 'b', { labels: { team: 'x' } });
    await add('p1', 'd1', 'a', { task: 'reports.daily', timeZone: 'Europe/Berlin' });
    await add('p1', 'd1', 'a-b', { inactive: true });
    await add('p1', 'd2', 'a', { labels: { team: 'y' } });
    await add('p2', 'd1', 'c', { labels: { team: 'x', tier: '1' } });
    await service.client.pauseSchedule({ name: 'projects/p2/domains/d1/schedules/c' });
    await service.client.deleteSchedule({ name: await add('p2', 'd1', 'gone') });
  });

  it.each([
    ['projects/p1/domains/d1', ['p1/d1/a', 'p1/d1/a-b', 'p1/d1/b']],
    ['projects/-/domains/d1', ['p1/d1/a', 'p1/d1/a-b', 'p1/d1/b', 'p2/d1/c']],
    ['projects/p1/domains/-', ['p1/d1/a', 'p1/d1/a-b', 'p1/d1/b', 'p1/d2/a']],
    ['projects/-/domains/-', ['p1/d1/a', 'p1/d1/a-b', 'p1/d1/b', 'p1/d2/a', 'p2/d1/c']],
    ['projects/none/domains/-', []],
  ])('of %s', async (parent, expected) => {
    expect(await listed({ parent })).toEqual(expected);
    expect(await listed({ parent, pageSize: 1 })).toEqual(expected);
    expect(await listed({ parent, orderBy: 'name desc', pageSize: 2 })).toEqual([...expected].reverse());
  });

  it('are ordered by time', async () => {
    const parent = 'projects/-/domains/-';
    const created = ['p1/d1/b', 'p1/d1/a', 'p1/d1/a-b', 'p1/d2/a', 'p2/d1/c'];
    expect(await listed({ parent, orderBy: 'create_time', pageSize: 1 })).toEqual(created);
    expect(await listed({ parent, orderBy: 'create_time desc', pageSize: 2 })).toEqual(
      [...created].reverse(),
    );
    await service.client.updateSchedule({
      schedule: { name: 'projects/p1/domains/d1/schedules/b', description: 'newest' },
      updateMask: { paths: ['description'] },
    });
    const written = [...created.slice(1), 'p1/d1/b'];
    expect(await listed({ parent, orderBy: 'update_time', pageSize: 2 })).toEqual(written);
    expect(await listed({ parent, orderBy: 'update_time desc', pageSize: 2 })).toEqual(
      [...written].reverse(),
    );
  });

  it('show deleted schedules when asked', async () => {
    const parent = 'projects/p2/domains/-';
    expect(await listed({ parent, showDeleted: true, pageSize: 1 })).toEqual(['p2/d1/c', 'p2/d1/gone']);
    expect(await listed({ parent, showDeleted: true, filter: 'state = DELETED' })).toEqual(['p2/d1/gone']);
  });

  it.each([
    ['state = ACTIVE', ['p1/d1/a', 'p1/d1/b', 'p1/d2/a']],
    ['state = PAUSED', ['p2/d1/c']],
    ['state = INACTIVE', ['p1/d1/a-b']],
    ['state != ACTIVE', ['p1/d1/a-b', 'p2/d1/c']],
    ['labels.team = x', ['p1/d1/b', 'p2/d1/c']],
    ['labels.team = x AND labels.tier = 1', ['p2/d1/c']],
    ['labels.team = *', ['p1/d1/b', 'p1/d2/a', 'p2/d1/c']],
    ['schedule_id = a*', ['p1/d1/a', 'p1/d1/a-b', 'p1/d2/a']],
    ['task = reports.*', ['p1/d1/a']],
    ['time_zone = Europe/Berlin', ['p1/d1/a']],
    ['time_zone = UTC AND schedule_id < b', ['p1/d1/a-b', 'p1/d2/a']],
    ['create_time < 2000-01-01T00:00:00Z', []],
    ['update_time > 2000-01-01T00:00:00Z AND state = PAUSED', ['p2/d1/c']],
  ])('filtered by %s', async (filter, expected) => {
    expect(await listed({ parent: 'projects/-/domains/-', filter, pageSize: 1 })).toEqual(expected);
  });

  it('leave the status out', async () => {
    for (const schedule of await all({ parent: 'projects/-/domains/-' }))
      expect(schedule.status).toBeUndefined();
  });
});

describe('pages', () => {
  const parent = 'projects/pages/domains/d';

  it('hold at most 1000, and by default 50', async () => {
    const { rows } = await database.pool.query(`select id from schedules where project = 'p1' limit 1`);
    // A thousand and one rows, by SQL: the service would take a while.
    await database.pool.query(
      `with added as (
         insert into schedules (uid, project, domain, schedule_id, generation, revision, hash_slot)
         select gen_random_uuid(), 'many', 'd', 's' || i, 1, 1, 0 from generate_series(1, 1001) i returning id
       )
       insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
       select added.id, 1, r.timing, r.run, r.task, r.time_zone, r.actor from added, schedule_revisions r where r.schedule = $1`,
      [rows[0].id],
    );
    const sizeOf = async (pageSize: number) =>
      (await service.client.listSchedules({ parent: 'projects/many/domains/d', pageSize })).schedules.length;
    expect([await sizeOf(0), await sizeOf(1000), await sizeOf(5000)]).toEqual([50, 1000, 1000]);
    expect(await listed({ parent: 'projects/many/domains/d', pageSize: 1000 })).toHaveLength(1001);
  });

  it('neither repeat nor skip what was there, whatever is added meanwhile', async () => {
    const ids = ['b', 'd', 'f', 'h', 'j'];
    for (const id of ids) await add('pages', 'd', id);
    for (const orderBy of ['name', 'name desc', 'create_time', 'create_time desc']) {
      const seen: string[] = [];
      let pageToken = '';
      let round = 0;
      do {
        const page = await service.client.listSchedules({ parent, orderBy, pageSize: 2, pageToken });
        seen.push(...page.schedules.map(({ name }) => name.split('/').at(-1)!));
        pageToken = page.nextPageToken;
        // One before and one after every place of the list, for some time.
        const suffix = `${orderBy.replace(/[^a-z]/g, '')}-${round++}`;
        if (round > 3) continue;
        for (const id of ['a', 'c', 'e', 'g', 'i', 'k']) await add('pages', 'd', `${id}-${suffix}`);
      } while (pageToken !== '');
      const original = seen.filter((id) => id.length === 1);
      expect(original.toSorted(), orderBy).toEqual(ids);
      expect(new Set(seen).size, orderBy).toBe(seen.length);
    }
  });

  it('of large specs are shorter', async () => {
    for (let index = 0; index < 6; index++) await add('large', 'd', `s${index}`, { inputBytes: 1_048_576 });
    const request = { parent: 'projects/large/domains/d', pageSize: 1000 };
    const first = await service.client.listSchedules(request);
    expect(first.schedules).toHaveLength(4);
    expect(first.nextPageToken).not.toBe('');
    expect(await listed(request)).toHaveLength(6);
    // JSON is larger by a third, and still below what servers send.
    expect((await service.jsonClient.listSchedules(request)).schedules).toHaveLength(4);
    const name = 'projects/large/domains/d/schedules/s0';
    for (const task of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await service.client.updateSchedule({
        schedule: { name, spec: { run: { task } } },
        updateMask: { paths: ['spec.run.task'] },
      });
    }
    const revisions = await service.client.listScheduleRevisions({ name, pageSize: 1000 });
    expect(revisions.revisions.map(({ revision }) => revision)).toEqual([7, 6, 5, 4]);
    const rest = await service.client.listScheduleRevisions({
      name,
      pageSize: 1000,
      pageToken: revisions.nextPageToken,
    });
    expect(rest.revisions.map(({ revision }) => revision)).toEqual([3, 2, 1]);
    expect(rest.nextPageToken).toBe('');
  });

  it('belong to their request', async () => {
    const { nextPageToken: pageToken } = await service.client.listSchedules({
      parent: 'projects/p1/domains/d1',
      pageSize: 1,
    });
    for (const request of [
      { parent: 'projects/p1/domains/-', pageToken },
      { parent: 'projects/p1/domains/d1', pageToken, filter: 'state = ACTIVE' },
      { parent: 'projects/p1/domains/d1', pageToken, orderBy: 'create_time' },
      { parent: 'projects/p1/domains/d1', pageToken, showDeleted: true },
      { parent: 'projects/p1/domains/d1', pageToken: `${pageToken}x` },
    ]) {
      const error = await refusal(service.client.listSchedules(request));
      expect(error.code).toBe(Code.InvalidArgument);
      expect(error.findDetails(BadRequestSchema)[0]!.fieldViolations[0]!.field).toBe('page_token');
    }
  });
});
