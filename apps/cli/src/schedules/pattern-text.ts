import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  CalendarUnit,
  CronDialect,
  type ScheduleSpec,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { printable } from '../display-text.ts';
import { exactDuration } from '../duration.ts';
import { utcTextOfMs } from '../instant.ts';

const UNITS: Readonly<Partial<Record<CalendarUnit, string>>> = {
  [CalendarUnit.DAY]: 'day',
  [CalendarUnit.WEEK]: 'week',
  [CalendarUnit.MONTH]: 'month',
  [CalendarUnit.YEAR]: 'year',
};

/** When a spec fires, as it was written: `0 9 * * MON-FRI Europe/Berlin`, `every 5s`, `at 2038-01-19 03:14:07Z`. */
export function patternText(spec: ScheduleSpec | undefined): string {
  switch (spec?.pattern.case) {
    case 'cron': {
      const { expression, dialect, timeZone } = spec.pattern.value;
      const suffix =
        dialect === CronDialect.SECONDS ? ' (seconds)' : dialect === CronDialect.AWS ? ' (aws)' : '';
      return printable(`${expression}${suffix} ${timeZone === '' ? 'UTC' : timeZone}`);
    }
    case 'rate': {
      const { interval } = spec.pattern.value;
      return `every ${exactDuration(Number(interval?.seconds ?? 0n) * 1_000)}`;
    }
    case 'at':
      return `at ${utcTextOfMs(timestampMs(spec.pattern.value))}`;
    case 'calendar': {
      const { unit, every, times, timeZone } = spec.pattern.value;
      const word = UNITS[unit] ?? '?';
      const count = every > 1 ? `every ${every} ${word}s` : `every ${word}`;
      const at = times.length > 0 ? ` at ${times.join(', ')}` : '';
      return printable(`${count}${at} ${timeZone === '' ? 'UTC' : timeZone}`);
    }
    default:
      return '';
  }
}
