import { setTimeout as delay } from 'node:timers/promises';
import { type OracleSpec, oracleBetween } from '@carillon/core/recurrence-oracle.ts';
import { CronDialect, DstGap, DstOverlap } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { FakeTime } from '../../support/fake-time.ts';
import type { Fault } from '../fault.ts';
import type { Pattern } from '../scenario.ts';

/** A change of the clocks that is lived through. */
interface ClockChange {
  readonly name: string;
  readonly kind: 'gap' | 'overlap';
  readonly timeZone: string;
  readonly at: string;
  /** Minute and hour of times that are left out, or come twice: the ones around the change first. */
  readonly minutes: readonly string[];
}

/** In the order in which they come. */
const CHANGES: readonly ClockChange[] = [
  {
    name: 'berlin-gap',
    kind: 'gap',
    timeZone: 'Europe/Berlin',
    at: '2027-03-28T01:00:00Z',
    minutes: ['0 2', '59 2'],
  },
  {
    name: 'lord-howe-overlap',
    kind: 'overlap',
    timeZone: 'Australia/Lord_Howe',
    at: '2027-04-03T15:00:00Z',
    minutes: ['59 1', '30 1'],
  },
  {
    name: 'lord-howe-gap',
    kind: 'gap',
    timeZone: 'Australia/Lord_Howe',
    at: '2027-10-02T15:30:00Z',
    minutes: ['0 2', '29 2'],
  },
  {
    name: 'berlin-overlap',
    kind: 'overlap',
    timeZone: 'Europe/Berlin',
    at: '2027-10-31T01:00:00Z',
    minutes: ['59 2', '0 2'],
  },
];
/** Fixed times, and intervals. */
const SECONDS = ['5,15,45,55', '*/10'] as const;
const GAPS: readonly OracleSpec['dstGap'][] = ['AUTO', 'NEXT_VALID', 'SHIFT', 'SKIP'];
const OVERLAPS: readonly OracleSpec['dstOverlap'][] = ['AUTO', 'FIRST', 'LAST', 'BOTH'];
const BEFORE_MS = 20_000;
/** Not where a slot is. */
const AFTER_MS = 22_500;

export const daylightSaving: Fault = {
  name: 'daylight-saving',
  numbers: [18],
  story:
    'The clocks change in Berlin and on Lord Howe Island, on and back, while schedules with each policy are due; every process lives in that year.',
  available: FakeTime.missing,
  setUp: { fakeTime: true, bells: 0 },
  async run(scenario, length) {
    const changes = length === 'full' ? CHANGES : CHANGES.slice(0, 2);
    for (const change of changes) {
      const atMs = Date.parse(change.at);
      // The walk takes seconds, and must not do so while schedules wait for it.
      const plans = specsOf(change).map((spec) => ({ spec, slots: slotsAround(spec, atMs) }));
      await scenario.step(atMs - BEFORE_MS - scenario.now());
      const bells = await Promise.all(
        plans.map(({ spec, slots }, index) =>
          scenario.addSchedule(`${change.name}-${index}`, patternOf(spec), (second) => slots.has(second)),
        ),
      );
      if (scenario.now() > atMs - 11_000) throw new Error('creating the schedules took too long');
      await delay(atMs + AFTER_MS - scenario.now());
      await Promise.all(bells.map((bell) => scenario.deactivate(bell)));
    }
    return {
      latenessLimitMs: 2_500,
      figures: { changes: changes.length, schedules: scenario.bells.length },
    };
  },
};

/** Times in the gap or the overlap, and an interval right through it, with each policy. */
function specsOf({ kind, timeZone, minutes }: ClockChange): OracleSpec[] {
  const expressions = [
    ...minutes.flatMap((minute) => SECONDS.map((seconds) => `${seconds} ${minute} * * *`)),
    '*/10 * * * * *',
  ];
  return expressions.flatMap((expression): OracleSpec[] => {
    const plain = { expression, dialect: 'SECONDS', timeZone, dstGap: 'AUTO', dstOverlap: 'AUTO' } as const;
    return kind === 'gap'
      ? GAPS.map((dstGap) => ({ ...plain, dstGap }))
      : OVERLAPS.map((dstOverlap) => ({ ...plain, dstOverlap }));
  });
}

/** What the brute-force walk over the days around a change finds, in seconds of the epoch. */
function slotsAround(spec: OracleSpec, atMs: number): Set<number> {
  const atSec = atMs / 1000;
  return new Set(oracleBetween(spec, atSec - 600, atSec + 600));
}

function patternOf({ expression, timeZone, dstGap, dstOverlap }: OracleSpec): Pattern {
  return {
    case: 'cron',
    value: {
      expression,
      dialect: CronDialect.SECONDS,
      timeZone,
      dstGap: DstGap[dstGap],
      dstOverlap: DstOverlap[dstOverlap],
    },
  };
}
