import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import {
  type ListSlotsRequest,
  type RedriveSlotsRequest,
  ScheduleService,
  type Slot,
  SlotOutcome,
  SlotSchema,
  type UnreadableSpanSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { runCommandLine } from '../host-under-test.ts';
import { slotSentence } from './slot-sentence.ts';
import { lastTimeOfDay } from './slot-time.ts';

const BERLIN = 'Europe/Berlin';
const NINE = Date.parse('2026-11-21T08:00:00Z');
const NOW = NINE + 3 * 3_600_000;

function at(text: string): Timestamp {
  return timestampFromMs(Date.parse(text));
}

function slotAt(ms: number, fields: MessageInitShape<typeof SlotSchema> = {}): Slot {
  return create(SlotSchema, {
    nominalTime: timestampFromMs(ms),
    dueTime: timestampFromMs(ms),
    localTime: new Date(ms).toISOString(),
    timeZone: BERLIN,
    revision: 1,
    outcome: SlotOutcome.FIRED,
    ...fields,
  });
}

/** A service that has slots, and keeps what it was asked for. */
function serviceWith(
  slots: readonly Slot[],
  pageSize = 1_000,
  unreadableSpans: MessageInitShape<typeof UnreadableSpanSchema>[] = [],
) {
  const lists: ListSlotsRequest[] = [];
  const redrives: RedriveSlotsRequest[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(ScheduleService, {
      getSchedule: ({ name }) => ({
        schedule: {
          name,
          spec: { pattern: { case: 'cron', value: { expression: '0 9 * * *', timeZone: BERLIN } } },
        },
      }),
      listSlots: (request) => {
        lists.push(request);
        const fromMs = request.fromTime === undefined ? 0 : timestampMs(request.fromTime);
        const toMs = request.toTime === undefined ? NOW : timestampMs(request.toTime);
        const found = slots.filter(({ nominalTime }) => {
          const ms = timestampMs(nominalTime!);
          return ms >= fromMs && ms <= toMs;
        });
        if (request.orderBy !== 'nominal_time') found.reverse();
        const start = Number(request.pageToken || 0);
        const end = start + Math.min(pageSize, request.pageSize);
        const nextPageToken = end < found.length ? String(end) : '';
        return { slots: found.slice(start, end), nextPageToken, unreadableSpans };
      },
      redriveSlots: (request) => {
        redrives.push(request);
        const { selection } = request;
        return { nominalTimes: selection.case === 'times' ? selection.value.nominalTimes : [] };
      },
    });
  });
  const run = (...commandLine: string[]) => {
    return runCommandLine(['schedules', ...commandLine], transport, { clock: new ManualClock(NOW) });
  };
  return { run, lists, redrives };
}

describe('what is said of a slot', () => {
  it.each<[string, MessageInitShape<typeof SlotSchema>, string]>([
    [
      'fired',
      { run: 'projects/p/domains/d/runs/rabc', lateness: durationFromMs(42) },
      'It ran at 09:00 on 21 November (Europe/Berlin): it was fired 42 ms after it fell due. The run is p/d/rabc.',
    ],
    [
      'redriven',
      { reason: 'REDRIVEN', run: 'projects/p/domains/d/runs/rabc', lateness: durationFromMs(7_200_000) },
      'The slot at 09:00 on 21 November (Europe/Berlin) was dead at first, and was redriven, 2 h 00 m after it fell due. The run is p/d/rabc.',
    ],
    [
      'paused',
      {
        outcome: SlotOutcome.SKIPPED,
        reason: 'PAUSED',
        pause: { actor: 'alice', pauseTime: at('2026-11-21T07:12:00Z'), reason: 'maintenance' },
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): the schedule was paused by alice at 08:12 (“maintenance”).',
    ],
    [
      'paused the day before, with others',
      {
        outcome: SlotOutcome.SKIPPED,
        reason: 'PAUSED',
        pause: { actor: 'alice', pauseTime: at('2026-11-19T23:30:05Z') },
        settledWith: {
          firstNominalTime: at('2026-11-20T08:00:00Z'),
          lastNominalTime: at('2026-11-21T08:00:00Z'),
          slots: 2n,
        },
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): the schedule was paused by alice at 00:30:05 on 20 November, ' +
        'as were 2 slots in all from 09:00 on 20 November (Europe/Berlin) to 09:00 on 21 November (Europe/Berlin).',
    ],
    [
      'given up with others that nobody can count',
      {
        outcome: SlotOutcome.MISSED,
        reason: 'UNREADABLE',
        message: 'its revision could not be read until it was later than the catch-up window allows',
        settledWith: {
          firstNominalTime: at('2026-11-20T08:00:00Z'),
          lastNominalTime: at('2026-11-21T08:00:00Z'),
          slots: 0n,
        },
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): its revision could not be read until it was later than the catch-up window allows (UNREADABLE), ' +
        'as were all that had not run from 09:00 on 20 November (Europe/Berlin) to 09:00 on 21 November (Europe/Berlin).',
    ],
    [
      'deactivated',
      {
        outcome: SlotOutcome.SKIPPED,
        reason: 'DEACTIVATED',
        message: 'the schedule was deactivated before the slot was sent',
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): the schedule was deactivated before the slot was sent.',
    ],
    [
      'missed',
      {
        outcome: SlotOutcome.MISSED,
        reason: 'BEYOND_WINDOW',
        message: 'it was later than the window allows',
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): it was later than the window allows (BEYOND_WINDOW).',
    ],
    [
      'dead, with what steers a terminal',
      { outcome: SlotOutcome.DEAD, reason: 'NOT_FOUND', message: 'no task \u001b[2J' },
      'It did not run at 09:00 on 21 November (Europe/Berlin): no run could be created (NOT_FOUND: no task \ufffd[2J). ' +
        '“carillon schedules redrive” sends it again.',
    ],
    [
      'dead, and under way again',
      {
        outcome: SlotOutcome.DEAD,
        reason: 'NOT_FOUND',
        message: 'no task',
        redriveTime: at('2026-11-21T10:00:00Z'),
      },
      'It did not run at 09:00 on 21 November (Europe/Berlin): no run could be created (NOT_FOUND: no task). It is being sent again.',
    ],
    [
      'late',
      { outcome: SlotOutcome.PENDING, reason: 'NO_LEADER', message: 'no scheduler leads' },
      'It has not run at 09:00 on 21 November (Europe/Berlin) yet, 3 h 00 m after it fell due: no scheduler leads (NO_LEADER).',
    ],
    [
      'forgotten',
      { outcome: SlotOutcome.UNKNOWN, reason: 'NOT_KEPT', message: 'nothing of it is kept' },
      'Whether it ran at 09:00 on 21 November (Europe/Berlin) cannot be told any more: nothing of it is kept.',
    ],
  ])('%s', (_, fields, sentence) => {
    expect(slotSentence(slotAt(NINE, fields), NOW)).toBe(sentence);
  });

  it('names the year where it is another', () => {
    const sentence = slotSentence(slotAt(Date.parse('2025-12-31T23:30:00Z')), NOW);
    expect(sentence).toContain('at 00:30 on 1 January (Europe/Berlin)');
    const lastYear = slotSentence(slotAt(Date.parse('2025-12-31T22:30:01Z')), NOW);
    expect(lastYear).toContain('at 23:30:01 on 31 December 2025 (Europe/Berlin)');
  });

  it('tells how long a slot ahead will take', () => {
    const slot = slotAt(NOW + 60_000, { outcome: SlotOutcome.PENDING, reason: 'NOT_DUE' });
    expect(slotSentence(slot, NOW)).toMatch(/^It has not run at .* yet: that is due in 1 m 00 s\.$/);
  });
});

describe('a time of day', () => {
  it.each([
    ['2026-11-21T11:00:00Z', '09:00', '2026-11-21T08:00:00Z'],
    ['2026-11-21T07:59:59Z', '09:00', '2026-11-20T08:00:00Z'],
    ['2026-11-21T08:00:00Z', '09:00', '2026-11-21T08:00:00Z'],
    ['2026-07-01T07:30:00Z', '09:00', '2026-07-01T07:00:00Z'],
    ['2026-03-29T12:00:00Z', '01:30', '2026-03-29T00:30:00Z'],
    ['2026-11-20T23:30:00Z', '00:15', '2026-11-20T23:15:00Z'],
  ])('at %s %s was %s', (now, text, expected) => {
    const [hour, minute] = text.split(':').map(Number);
    const instant = lastTimeOfDay(hour! * 3_600 + minute! * 60, BERLIN, Date.parse(now) / 1_000);
    expect(new Date(instant * 1_000).toISOString()).toBe(new Date(expected).toISOString());
  });
});

describe('schedules explain', () => {
  it('explains the last slot, one at a time of day, and in JSON', async () => {
    const { run, lists } = serviceWith([slotAt(NINE - 86_400_000), slotAt(NINE)]);
    expect((await run('explain', 'p/d/a')).stdout).toMatch(
      /^It ran at 09:00 on 21 November \(Europe\/Berlin\)/,
    );
    expect((await run('explain', 'p/d/a', '--at', '09:00')).stdout).toMatch(
      /^It ran at 09:00 on 21 November/,
    );
    expect(lists.at(-1)).toMatchObject({
      fromTime: timestampFromMs(NINE),
      toTime: timestampFromMs(NINE),
      pageSize: 1,
    });
    const json = await run('explain', 'p/d/a', '--at', '2026-11-20T08:00:00Z', '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      explanation: expect.stringMatching(/^It ran at 09:00 on 20 November/),
      slot: { nominalTime: '2026-11-20T08:00:00Z', outcome: 'SLOT_OUTCOME_FIRED' },
    });
  });

  it('says that a time is no slot, and which are the nearest', async () => {
    const { run } = serviceWith([slotAt(NINE - 86_400_000), slotAt(NINE), slotAt(NINE + 86_400_000)]);
    const between = await run('explain', 'p/d/a', '--at', '08:00');
    expect(between).toMatchObject({
      exitCode: 0,
      stdout:
        '08:00 on 21 November (Europe/Berlin) is no slot of p/d/a: the one before is 09:00 on 20 November (Europe/Berlin), ' +
        'and the one after is 09:00 on 21 November (Europe/Berlin).\n',
    });
    const json = await run('explain', 'p/d/a', '--at', '08:00', '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      nearest: [{ nominalTime: '2026-11-20T08:00:00Z' }, { nominalTime: '2026-11-21T08:00:00Z' }],
    });
    const { run: early } = serviceWith([slotAt(NINE + 86_400_000)]);
    expect((await early('explain', 'p/d/a')).stdout).toBe(
      'p/d/a has had no slot yet. The first is 09:00 on 22 November (Europe/Berlin).\n',
    );
    const { run: never } = serviceWith([]);
    expect((await never('explain', 'p/d/a')).stdout).toContain('has had no slot, and has none ahead');
  });
});

describe('a revision that cannot be read', () => {
  const broken = { revision: 2, fromTime: at('2026-11-20T08:30:00Z'), reason: 'no such \u001b zone' };
  const notice =
    /slots of revision 2, from 2026-11-20 08:30:00Z until now, cannot be told: no such \ufffd zone/;

  it('is told beside the slots, and in JSON', async () => {
    const { run } = serviceWith([slotAt(NINE - 86_400_000)], 1_000, [broken]);
    const { exitCode, stdout, stderr } = await run('slots', 'p/d/a');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('fired');
    expect(stderr).toMatch(notice);
    expect(JSON.parse((await run('slots', 'p/d/a', '-o', 'json')).stdout)).toMatchObject({
      slots: [{}],
      unreadableSpans: [{ revision: 2, reason: broken.reason }],
    });
  });

  it('is told of a time in it, and after the last slot', async () => {
    const { run } = serviceWith([slotAt(NINE - 86_400_000)], 1_000, [broken]);
    const { stdout: last } = await run('explain', 'p/d/a');
    expect(last).toMatch(/^It ran at 09:00 on 20 November .* But slots of revision 2/);
    expect(last).toMatch(notice);
    const { stdout: within } = await run('explain', 'p/d/a', '--at', '2026-11-21T08:00:00Z');
    expect(within).toMatch(
      /^Whether 08:00 on 21 November \(UTC\) is a slot of p\/d\/a cannot be told: slots of/,
    );
    const { run: none } = serviceWith([], 1_000, [broken]);
    expect((await none('explain', 'p/d/a')).stdout).toMatch(
      /^What the last slot of p\/d\/a was cannot be told:/,
    );
  });
});

describe('schedules slots', () => {
  it('lists them with what became of each, over pages, the newest first', async () => {
    const { run, lists } = serviceWith(
      [
        slotAt(NINE - 86_400_000, { run: 'projects/p/domains/d/runs/rabc', lateness: durationFromMs(3) }),
        slotAt(NINE, { outcome: SlotOutcome.DEAD, reason: 'NOT_FOUND', message: 'no task' }),
      ],
      1,
    );
    const result = await run('slots', 'p/d/a', '--from', '2026-11-01', '--outcome', 'dead,fired');
    expect(result.stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['UTC', 'LOCAL', 'OUTCOME', 'LATE', 'RUN', 'WHY'],
      ['2026-11-21 08:00:00Z', '2026-11-21T08:00:00.000Z', 'dead', 'NOT_FOUND: no task'],
      ['2026-11-20 08:00:00Z', '2026-11-20T08:00:00.000Z', 'fired', '3 ms', 'rabc'],
      [''],
    ]);
    expect(lists).toHaveLength(2);
    expect(lists[0]).toMatchObject({
      outcomes: [SlotOutcome.DEAD, SlotOutcome.FIRED],
      fromTime: at('2026-11-01T00:00:00Z'),
    });
    expect((await run('slots', 'p/d/a', '--limit', '1')).stderr).toContain('there are more');
    expect(await run('slots', 'p/d/a', '--outcome', 'lost')).toMatchObject({ exitCode: 2 });
  });
});

describe('schedules redrive', () => {
  it('sends slots by their times', async () => {
    const { run, redrives } = serviceWith([]);
    const result = await run('redrive', 'p/d/a', '--at', '09:00', '--at', '2026-11-20T08:00:00Z');
    expect(result).toMatchObject({
      exitCode: 0,
      stdout: '2 dead slots will be sent again\n  2026-11-21 08:00:00Z\n  2026-11-20 08:00:00Z\n',
    });
    expect(redrives).toMatchObject([{ dryRun: false, selection: { case: 'times' } }]);
  });

  it('takes a range, tries it dry, and wants one or the other', async () => {
    const { run, redrives } = serviceWith([]);
    const dry = await run('redrive', 'p/d/a', '--from', '-1d', '--dry-run');
    expect(dry.stdout).toBe('no dead slots\n');
    expect(redrives).toMatchObject([
      { dryRun: true, selection: { case: 'range', value: { fromTime: timestampFromMs(NOW - 86_400_000) } } },
    ]);
    expect(await run('redrive', 'p/d/a')).toMatchObject({ exitCode: 2 });
    expect(await run('redrive', 'p/d/a', '--at', '09:00', '--from', '-1d')).toMatchObject({ exitCode: 2 });
  });
});
