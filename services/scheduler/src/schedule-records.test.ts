import { create, toBinary } from '@bufbuild/protobuf';
import type { FeedRow } from '@carillon/db/tables/schedule-feed.ts';
import { ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { expect, test } from 'vitest';
import { SETTLED_BEFORE, scheduleRecords } from './schedule-records.ts';
import { TimingCache } from './timing-cache.ts';

const MEBIBYTE = 1024 * 1024;
const SPEC = create(ScheduleSpecSchema, {
  pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
});

function rowOf(payloadBytes: number): FeedRow {
  return {
    id: 1,
    uidBits: 0,
    generation: 1,
    hashSlot: 1,
    project: 'p',
    domain: 'd',
    scheduleId: 's',
    anchorMs: 0,
    span: 1,
    revision: 3,
    state: 'ACTIVE',
    fromMs: 0,
    toMs: null,
    endReason: null,
    timing: Buffer.from(toBinary(ScheduleSpecSchema, SPEC)),
    payloadBytes,
    seen: true,
    frontierMs: null,
  };
}

function recordOf(row: FeedRow) {
  const belonging = { unitOf: () => 1, liveOf: () => [], quarantinedOf: () => [] };
  const [record] = scheduleRecords([row], SETTLED_BEFORE, belonging, new TimingCache());
  return record!;
}

test('a schedule whose run is larger than any request may be cannot be planned, and says so', () => {
  const record = recordOf(rowOf(4 * MEBIBYTE + 1));

  expect(record.problem).toBe('revision 3: its run has 4194305 bytes, of at most 4194304');
  expect(record.spans).toEqual([]);
  expect(record.unreadable).toMatchObject([{ span: 1, revision: 3 }]);
});

test('one that is as large as a request may be is planned', () => {
  const record = recordOf(rowOf(4 * MEBIBYTE));

  expect(record.problem).toBeUndefined();
  expect(record.spans).toMatchObject([{ span: 1, revision: 3 }]);
});
