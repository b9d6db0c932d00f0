import { timestampMs } from '@bufbuild/protobuf/wkt';
import { CronDialect, type ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { printable } from '../display-text.ts';
import { exactDuration } from '../duration.ts';
import { utcTextOfMs } from '../instant.ts';

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
    default:
      return '';
  }
}
