import type { UnreadableSpan } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { printable } from '../display-text.ts';
import { utcText } from '../instant.ts';

/** Says, without a full stop, that the slots of a stretch of time cannot be told, and why. */
export function unreadableText({ revision, fromTime, toTime, reason }: UnreadableSpan): string {
  const until = toTime === undefined ? 'until now' : `to ${utcText(toTime)}`;
  return `slots of revision ${revision}, from ${utcText(fromTime)} ${until}, cannot be told: ${printable(reason)}`;
}
