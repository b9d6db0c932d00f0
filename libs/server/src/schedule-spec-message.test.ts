import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CalendarIntervalSchema,
  CalendarUnit,
  CatchUpPolicy,
  CronDialect,
  DstGap,
  DstOverlap,
  ScheduleSpecSchema,
  Weekday,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { describe, expect, it } from 'vitest';
import { runSpecBytes } from './run-spec-message.ts';
import { policiesOf, recurrenceSpecOf, scheduleSpecOf, timingBytes } from './schedule-spec-message.ts';

const spec = (init: MessageInitShape<typeof ScheduleSpecSchema>) => create(ScheduleSpecSchema, init);
const at = (seconds: number) => ({ seconds: BigInt(seconds) });

describe('schedule specs', () => {
  it('become recurrences, with the defaults filled in', () => {
    expect(
      recurrenceSpecOf(spec({ pattern: { case: 'cron', value: { expression: '0 9 * * *' } } }), 7),
    ).toEqual({
      pattern: {
        kind: 'cron',
        expression: '0 9 * * *',
        dialect: 'STANDARD',
        timeZone: 'UTC',
        dstGap: 'AUTO',
        dstOverlap: 'AUTO',
      },
      bounds: { start: undefined, end: undefined },
    });
    const full = spec({
      pattern: {
        case: 'cron',
        value: {
          expression: '0 0 9 * * ?',
          dialect: CronDialect.SECONDS,
          timeZone: 'Europe/Berlin',
          dstGap: DstGap.SHIFT,
          dstOverlap: DstOverlap.LAST,
        },
      },
      startTime: at(100),
      endTime: at(200),
    });
    expect(recurrenceSpecOf(full, 7)).toEqual({
      pattern: {
        kind: 'cron',
        expression: '0 0 9 * * ?',
        dialect: 'SECONDS',
        timeZone: 'Europe/Berlin',
        dstGap: 'SHIFT',
        dstOverlap: 'LAST',
      },
      bounds: { start: 100, end: 200 },
    });
    expect(recurrenceSpecOf(spec({ pattern: { case: 'at', value: at(100) } }), 7).pattern).toEqual({
      kind: 'at',
      at: 100,
    });
  });

  it('anchor a rate at its start, else at the first activation', () => {
    const rate = { case: 'rate', value: { interval: { seconds: 60n } } } as const;
    expect(recurrenceSpecOf(spec({ pattern: rate }), 7).pattern).toEqual({
      kind: 'rate',
      everySeconds: 60,
      anchor: 7,
    });
    expect(recurrenceSpecOf(spec({ pattern: rate, startTime: at(100) }), 7).pattern).toMatchObject({
      anchor: 100,
    });
    const every = { case: 'cron', value: { expression: '@every 1m' } } as const;
    expect(recurrenceSpecOf(spec({ pattern: every }), 7).pattern).toMatchObject({ anchor: 7 });
  });

  it('are refused without a pattern, or with words of a newer version', () => {
    expect(() => recurrenceSpecOf(spec({}), 0)).toThrow('pattern');
    const value = { expression: '* * * * *', dialect: 99 as CronDialect };
    expect(() => recurrenceSpecOf(spec({ pattern: { case: 'cron', value } }), 0)).toThrow(
      'dialect: 99 is not known',
    );
    expect(() => policiesOf(spec({ catchUp: { policy: 99 as CatchUpPolicy } }))).toThrow('catch-up policy');
  });

  it('have policies', () => {
    expect(policiesOf(spec({}))).toEqual({
      jitterSeconds: 0,
      catchUpPolicy: 'ALL',
      catchUpWindowMs: 86_400_000,
      catchUpLimit: 0,
      overlapPolicy: 'ALLOW',
      overlapLimit: 0,
    });
    const given = spec({
      jitter: { seconds: 1n, nanos: 500_000_000 },
      catchUp: { policy: CatchUpPolicy.LATEST, window: { seconds: 10n }, limit: 3 },
      overlap: { policy: OverlapPolicy.SKIP },
    });
    expect(policiesOf(given)).toEqual({
      jitterSeconds: 1.5,
      catchUpPolicy: 'LATEST',
      catchUpWindowMs: 10_000,
      catchUpLimit: 3,
      overlapPolicy: 'SKIP',
      overlapLimit: 1,
    });
  });

  it('count calendar intervals, and leave exclusion calendars out', () => {
    const calendar = spec({
      pattern: {
        case: 'calendar',
        value: create(CalendarIntervalSchema, {
          unit: CalendarUnit.MONTH,
          every: 3,
          startDate: '2026-01-01',
          times: ['09:00'],
          weekday: { day: Weekday.FRIDAY, nth: -1 },
          timeZone: 'Europe/Berlin',
        }),
      },
      exclusions: [
        { name: 'closed', timeZone: 'Europe/Berlin', dates: ['2026-04-24'], ranges: [], weekly: [] },
      ],
    });
    const recurrence = compileRecurrence(recurrenceSpecOf(calendar, 0), 'p/d/s');
    const instants = [...recurrence.between(Date.UTC(2026, 0, 1) / 1000, Date.UTC(2026, 11, 31) / 1000)];
    expect(instants.map((second) => new Date(second * 1000).toISOString())).toEqual([
      '2026-01-30T08:00:00.000Z',
      '2026-07-31T07:00:00.000Z',
      '2026-10-30T08:00:00.000Z',
    ]);
  });

  it('are stored as timing and run, and come back whole', () => {
    const whole = spec({
      pattern: { case: 'at', value: at(100) },
      jitter: { seconds: 5n },
      run: { task: 't', labels: { a: 'b' } },
    });
    const timing = timingBytes(whole);
    expect(fromBinary(ScheduleSpecSchema, timing).run).toBeUndefined();
    expect(whole.run).toBeDefined();
    expect(scheduleSpecOf({ timing, run: runSpecBytes(whole.run!) })).toEqual(whole);
  });
});
