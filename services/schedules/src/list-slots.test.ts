import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import {
  CronSchema,
  RateSchema,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  type Slot,
  SlotOutcome,
  type UnreadableSpan,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Code, createRouterTransport } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  PARENT,
  RUN_RETENTION_DAYS,
  refusal,
  type ServiceUnderTest,
  specOf,
  startSchedules,
} from './service-under-test.ts';

const database = useDatabase();
const HOUR = 3_600;
/** Whole hours ago, in epoch seconds: histories are moved into the past. */
const BASE = (Math.floor(Date.now() / 1000 / HOUR) - 100) * HOUR;
let service: ServiceUnderTest;
/** The nominal times that have a run, in epoch seconds. */
const ran = new Set<number>();
let asked = 0;
let made = 0;

beforeAll(async () => {
  let uid = '';
  const runsTransport = createRouterTransport(({ service: register }) => {
    register(RunService, {
      batchGetRuns: async ({ requests }) => {
        asked += requests.length;
        return {
          results: requests.map(({ name, nominalTime }) =>
            ran.has(Number(nominalTime?.seconds))
              ? {
                  name,
                  run: {
                    name,
                    scheduleUid: uid,
                    fireTime: timestampFromMs(timestampMs(nominalTime!) + 25),
                  },
                }
              : { name },
          ),
        };
      },
    });
  });
  service = await startSchedules(database, { runsTransport });
  const { schedule } = await service.client.createSchedule({
    parent: PARENT,
    scheduleId: 'hourly',
    schedule: { spec: specOf() },
  });
  uid = schedule!.uid;
  await liveSince('hourly', BASE);
});
afterAll(async () => service[Symbol.asyncDispose]());

const nameOf = (id: string) => `${PARENT}/schedules/${id}`;

/** Rewrites the only span of a schedule as one that began in the past; spans never change by themselves. */
async function liveSince(id: string, fromSec: number): Promise<void> {
  await database.pool.query('alter table schedule_spans disable trigger user');
  await database.pool.query(
    `update schedule_spans set from_time = to_timestamp($2)
    where schedule = (select id from schedules where schedule_id = $1)`,
    [id, fromSec],
  );
  await database.pool.query('alter table schedule_spans enable trigger user');
}

function neverComes(): Buffer {
  const value = create(CronSchema, { expression: '0 0 30 2 *' });
  return Buffer.from(
    toBinary(ScheduleSpecSchema, create(ScheduleSpecSchema, { pattern: { case: 'cron', value } })),
  );
}

/** A quarantined schedule whose second revision, from hour 5 to hour 8, was broken by hand, and followed by a good one. */
async function mended(timing: Buffer): Promise<string> {
  const scheduleId = `mended-${++made}`;
  const name = nameOf(scheduleId);
  await service.client.createSchedule({ parent: PARENT, scheduleId, schedule: { spec: specOf() } });
  for (const nominalTimeInput of ['second', 'third'])
    await service.client.updateSchedule({ schedule: { name, spec: specOf({ nominalTimeInput }) } });
  const alter = (table: string, what: string) =>
    database.pool.query(`alter table ${table} ${what} trigger user`);
  for (const table of ['schedule_spans', 'schedule_revisions']) await alter(table, 'disable');
  const ofIt = 'schedule = (select id from schedules where schedule_id = $1)';
  for (const [span, from, to] of [
    [1, 0, 5],
    [2, 5, 8],
    [3, 8, undefined],
  ] as const) {
    await database.pool.query(
      `update schedule_spans set from_time = to_timestamp($3), to_time = to_timestamp($4) where ${ofIt} and span = $2`,
      [scheduleId, span, hour(from), to === undefined ? null : hour(to)],
    );
  }
  await database.pool.query(`update schedule_revisions set timing = $2 where ${ofIt} and revision = 2`, [
    scheduleId,
    timing,
  ]);
  for (const table of ['schedule_spans', 'schedule_revisions']) await alter(table, 'enable');
  await database.pool.query(
    `insert into schedule_quarantines (schedule, generation, reason)
    select id, generation, 'revision 2 is broken' from schedules where schedule_id = $1`,
    [scheduleId],
  );
  return name;
}

async function record(
  id: string,
  row: { outcome: string; reason: string; from: number; through?: number; slots?: number },
): Promise<void> {
  const { outcome, reason, from, through = from, slots = 1 } = row;
  await database.pool.query(
    `insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, message, epoch)
    select (to_timestamp($2) at time zone 'UTC')::date, id, 1, to_timestamp($2), to_timestamp($3), $4, $5, $6, 'so it is', 1
    from schedules where schedule_id = $1`,
    [id, from, through, slots, outcome, reason],
  );
}

const hour = (index: number) => BASE + index * HOUR;
const at = (sec: number) => ({ seconds: BigInt(sec) });
const hoursOf = (slots: readonly Slot[]) =>
  slots.map(({ nominalTime }) => (Number(nominalTime!.seconds) - BASE) / HOUR);

describe('ListSlots', () => {
  it('tells fired ones, gaps in what a record of many says, and the dead', async () => {
    for (const index of [1, 2, 5, 8]) ran.add(hour(index));
    await record('hourly', {
      outcome: 'MISSED',
      reason: 'BEYOND_WINDOW',
      from: hour(3),
      through: hour(7),
      slots: 4,
    });
    await record('hourly', { outcome: 'DEAD', reason: 'NOT_FOUND', from: hour(9) });

    const { slots } = await service.client.listSlots({
      name: nameOf('hourly'),
      fromTime: at(hour(0)),
      toTime: at(hour(9)),
      orderBy: 'nominal_time',
    });

    expect(hoursOf(slots)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const { FIRED, MISSED, DEAD } = SlotOutcome;
    expect(slots.map(({ outcome }) => outcome)).toEqual([
      ...[FIRED, FIRED, MISSED, MISSED, FIRED, MISSED, MISSED, FIRED, DEAD],
    ]);
    expect(slots[0]).toMatchObject({ revision: 1, timeZone: 'UTC', lateness: durationFromMs(25) });
    expect(slots[0]!.run).toMatch(/^projects\/p\/domains\/d\/runs\/r[a-z2-7]{26}$/);
    expect(slots[2]).toMatchObject({
      reason: 'BEYOND_WINDOW',
      message: 'so it is',
      run: '',
      settledWith: { firstNominalTime: at(hour(3)), lastNominalTime: at(hour(7)), slots: 4n },
    });
    expect(slots[8]).toMatchObject({ reason: 'NOT_FOUND', message: 'so it is' });
    expect(slots[8]!.settledWith).toBeUndefined();
  });

  it('finds a record of many slots that began before what is asked for', async () => {
    const { slots } = await service.client.listSlots({
      name: nameOf('hourly'),
      fromTime: at(hour(6)),
      toTime: at(hour(6)),
    });
    expect(slots).toMatchObject([{ outcome: SlotOutcome.MISSED, settledWith: { slots: 4n } }]);
  });

  it.each(['nominal_time', 'nominal_time desc', ''])(
    'pages through all slots once, by "%s"',
    async (orderBy) => {
      const pages: Slot[][] = [];
      let pageToken = '';
      do {
        const page = await service.client.listSlots({
          name: nameOf('hourly'),
          fromTime: at(hour(0)),
          toTime: at(hour(20)),
          pageSize: 7,
          orderBy,
          pageToken,
        });
        pages.push(page.slots);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      const expected = Array.from({ length: 20 }, (_, index) => index + 1);
      expect(pages.map((page) => page.length)).toEqual([7, 7, 6]);
      expect(hoursOf(pages.flat())).toEqual(orderBy === 'nominal_time' ? expected : expected.reverse());
    },
  );

  it('answers the newest first up to now, and asks for no more runs than it shows', async () => {
    asked = 0;
    const { slots, nextPageToken } = await service.client.listSlots({ name: nameOf('hourly'), pageSize: 1 });
    expect(slots).toHaveLength(1);
    expect(nextPageToken).not.toBe('');
    const latenessMs = Date.now() - timestampMs(slots[0]!.nominalTime!);
    expect(latenessMs).toBeGreaterThanOrEqual(0);
    expect(latenessMs).toBeLessThan(HOUR * 1000 + 5_000);
    expect(asked).toBe(2);
  });

  it('shows slots of some outcomes only', async () => {
    const { slots } = await service.client.listSlots({
      name: nameOf('hourly'),
      toTime: at(hour(20)),
      outcomes: [SlotOutcome.DEAD, SlotOutcome.MISSED],
    });
    expect(hoursOf(slots)).toEqual([9, 7, 6, 4, 3]);
  });

  it('looks at a limited number of slots, and goes on from there', async () => {
    await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'secondly',
      schedule: {
        spec: specOf({
          pattern: {
            case: 'rate',
            value: create(RateSchema, { interval: { seconds: 1n } }),
          },
        }),
      },
    });
    await liveSince('secondly', BASE);
    await record('secondly', { outcome: 'DEAD', reason: 'NOT_FOUND', from: BASE + 5_000 });
    asked = 0;
    const request = {
      name: nameOf('secondly'),
      fromTime: at(BASE),
      toTime: at(BASE + 6_000),
      outcomes: [SlotOutcome.DEAD],
      orderBy: 'nominal_time',
    };
    const first = await service.client.listSlots(request);
    expect(first.slots).toEqual([]);
    expect(asked).toBe(2_000);
    const second = await service.client.listSlots({ ...request, pageToken: first.nextPageToken });
    expect(second.slots).toEqual([]);
    const third = await service.client.listSlots({ ...request, pageToken: second.nextPageToken });
    expect(third.slots.map(({ nominalTime }) => Number(nominalTime!.seconds))).toEqual([BASE + 5_000]);
    expect(third.nextPageToken).toBe('');
  });

  it('follows revisions, each in its own zone', async () => {
    const berlin = specOf({
      pattern: {
        case: 'cron',
        value: create(CronSchema, { expression: '0 9 * * *', timeZone: 'Europe/Berlin' }),
      },
    });
    await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'edited',
      schedule: { spec: specOf() },
    });
    await service.client.updateSchedule({ schedule: { name: nameOf('edited'), spec: berlin } });
    const tomorrow = Math.floor(Date.now() / 1000) + 90_000;
    const { slots } = await service.client.listSlots({
      name: nameOf('edited'),
      toTime: at(tomorrow),
      pageSize: 1,
    });
    expect(slots).toMatchObject([
      { revision: 2, timeZone: 'Europe/Berlin', outcome: SlotOutcome.PENDING, reason: 'NOT_DUE' },
    ]);
    expect(slots[0]!.localTime).toMatch(/T09:00:00\+0[12]:00$/);
  });

  it.each([
    ['bytes that are no spec', Buffer.from('ffffffffffff', 'hex'), 'what is stored is no spec'],
    ['a date that never comes', neverComes(), 'no date matches'],
  ])('tells the slots around those of a revision that cannot be read: %s', async (_, timing, reason) => {
    const name = await mended(timing);
    for (const orderBy of ['nominal_time', 'nominal_time desc']) {
      const slots: Slot[] = [];
      const unreadable: UnreadableSpan[] = [];
      let pageToken = '';
      do {
        const page = await service.client.listSlots({
          name,
          fromTime: at(hour(1)),
          toTime: at(hour(12)),
          pageSize: 3,
          orderBy,
          pageToken,
        });
        slots.push(...page.slots);
        unreadable.push(...page.unreadableSpans);
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      const expected = [1, 2, 3, 4, 5, 9, 10, 11, 12];
      expect(hoursOf(slots)).toEqual(orderBy === 'nominal_time' ? expected : expected.reverse());
      for (const slot of slots) {
        expect(slot).toMatchObject({
          outcome: SlotOutcome.PENDING,
          reason: 'QUARANTINED',
          message: 'revision 2 is broken',
        });
      }
      expect(unreadable).toMatchObject([
        { revision: 2, fromTime: at(hour(5)), toTime: at(hour(8)), reason: expect.stringContaining(reason) },
      ]);
    }
    const within = await service.client.listSlots({ name, fromTime: at(hour(6)), toTime: at(hour(6)) });
    expect(within).toMatchObject({ slots: [], unreadableSpans: [{ revision: 2 }], nextPageToken: '' });
    const beside = await service.client.listSlots({ name, fromTime: at(hour(9)), toTime: at(hour(9)) });
    expect(beside).toMatchObject({ slots: [{}], unreadableSpans: [] });
  });

  it('refuses what makes no sense', async () => {
    const name = nameOf('hourly');
    const backwards = service.client.listSlots({ name, fromTime: at(BASE + 1), toTime: at(BASE) });
    expect((await refusal(backwards)).code).toBe(Code.InvalidArgument);
    const page = await service.client.listSlots({ name, pageSize: 1 });
    const other = service.client.listSlots({ name, pageToken: page.nextPageToken, orderBy: 'nominal_time' });
    expect((await refusal(other)).rawMessage).toContain('belongs to another request');
    expect((await refusal(service.client.listSlots({ name: nameOf('none') }))).code).toBe(Code.NotFound);
    const unknown = service.client.listSlots({ name, outcomes: [99 as SlotOutcome] });
    expect((await refusal(unknown)).code).toBe(Code.InvalidArgument);
  });
});

describe('RedriveSlots', () => {
  it('refuses times that are not dead, and writes nothing then', async () => {
    const times = (...secs: number[]) => ({
      case: 'times' as const,
      value: { nominalTimes: secs.map(at) },
    });
    const name = nameOf('hourly');
    const mixed = service.client.redriveSlots({ name, selection: times(hour(9), hour(3)) });
    const refused = await refusal(mixed);
    expect(refused.code).toBe(Code.FailedPrecondition);
    expect(refused.rawMessage).toContain(`${new Date(hour(3) * 1000).toISOString()} is no dead slot`);
    const { rows } = await database.pool.query('select * from slot_redrives');
    expect(rows).toEqual([]);
    expect((await refusal(service.client.redriveSlots({ name }))).code).toBe(Code.InvalidArgument);
    expect((await refusal(service.client.redriveSlots({ name, selection: times() }))).code).toBe(
      Code.InvalidArgument,
    );
    const fraction = service.client.redriveSlots({
      name,
      selection: { case: 'times', value: { nominalTimes: [{ seconds: 1n, nanos: 1 }] } },
    });
    expect((await refusal(fraction)).rawMessage).toContain('must be in whole seconds');
  });

  it('refuses slots whose runs may have been dropped, and says from when on there are none', async () => {
    const scheduleId = 'old';
    await service.client.createSchedule({ parent: PARENT, scheduleId, schedule: { spec: specOf() } });
    const name = nameOf(scheduleId);
    const daysAgo = (days: number) => hour(100) - days * 24 * HOUR;
    for (const days of [RUN_RETENTION_DAYS + 1, RUN_RETENTION_DAYS - 1])
      await record(scheduleId, { outcome: 'DEAD', reason: 'NOT_FOUND', from: daysAgo(days) });
    const range = { case: 'range' as const, value: {} };
    const times = {
      case: 'times' as const,
      value: { nominalTimes: [at(daysAgo(RUN_RETENTION_DAYS + 1))] },
    };
    for (const selection of [range, times]) {
      const refused = await refusal(service.client.redriveSlots({ name, selection }));
      expect(refused.code).toBe(Code.FailedPrecondition);
      const old = new Date(daysAgo(RUN_RETENTION_DAYS + 1) * 1000).toISOString();
      expect(refused.rawMessage).toContain(`whether ${old} has one can no longer be told`);
    }
    const later = { case: 'range' as const, value: { fromTime: at(daysAgo(RUN_RETENTION_DAYS)) } };
    const { nominalTimes } = await service.client.redriveSlots({ name, selection: later, dryRun: true });
    expect(nominalTimes).toMatchObject([at(daysAgo(RUN_RETENTION_DAYS - 1))]);
  });

  it('takes up the oldest 500 of a range, and each once', async () => {
    await database.pool.query(
      `insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, epoch)
      select (t at time zone 'UTC')::date, id, 1, t, t, 1, 'DEAD', 'NOT_FOUND', 1
      from schedules, generate_series(to_timestamp($1), to_timestamp($2), interval '1 second') as t where schedule_id = 'secondly'`,
      [BASE + 10_001, BASE + 10_510],
    );
    const name = nameOf('secondly');
    const range = (fromSec: number) => ({ case: 'range' as const, value: { fromTime: at(fromSec) } });
    const first = await service.client.redriveSlots({ name, selection: range(BASE + 10_000) });
    expect(first).toMatchObject({ truncated: true });
    expect(first.nominalTimes).toHaveLength(500);
    const rest = await service.client.redriveSlots({
      name,
      selection: range(Number(first.nominalTimes.at(-1)!.seconds)),
    });
    expect(rest).toMatchObject({ truncated: false });
    expect(rest.nominalTimes).toHaveLength(11);
    const { rows } = await database.pool.query(
      `select count(*)::int as count, count(distinct actor)::int as actors from slot_redrives`,
    );
    expect(rows).toEqual([{ count: 510, actors: 1 }]);
    const { slots } = await service.client.listSlots({
      name,
      fromTime: at(BASE + 10_001),
      toTime: at(BASE + 10_001),
    });
    expect(slots[0]).toMatchObject({ outcome: SlotOutcome.DEAD });
    expect(slots[0]!.redriveTime).toBeDefined();
  });
});
