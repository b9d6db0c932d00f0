import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DomainError } from '@carillon/core/domain-error.ts';
import { type Schedule, ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { describe, expect, it } from 'vitest';
import { applyMask, resolveMask } from './update-mask.ts';

const schedule = (init: MessageInitShape<typeof ScheduleSchema>): Schedule => create(ScheduleSchema, init);

const STORED = schedule({
  name: 'projects/p/domains/d/schedules/s',
  uid: 'u',
  description: 'old',
  labels: { team: 'a', tier: 'b' },
  spec: {
    pattern: { case: 'cron', value: { expression: '0 9 * * *', timeZone: 'Europe/Berlin' } },
    jitter: { seconds: 5n },
    run: { task: 'old', queue: 'q', labels: { x: 'y' } },
  },
});

function applied(given: MessageInitShape<typeof ScheduleSchema>, ...paths: string[]): Schedule {
  return applyMask(STORED, schedule(given), resolveMask(paths));
}

describe('update masks', () => {
  it('take all changeable fields when there are none, and for *', () => {
    const given = { name: 'other', uid: 'other', labels: { new: 'label' }, spec: { run: { task: 'new' } } };
    for (const result of [applied(given), applied(given, '*')]) {
      expect(result).toEqual(schedule({ ...given, name: STORED.name, uid: STORED.uid }));
    }
  });

  it('take nothing but the field that they name', () => {
    expect(applied({ description: 'new' }, 'description')).toEqual({ ...STORED, description: 'new' });
    const given = { spec: { pattern: { case: 'cron', value: { expression: '0 8 * * *' } } } } as const;
    const result = applied(given, 'spec.cron.expression');
    expect(result.spec!.pattern.value).toMatchObject({ expression: '0 8 * * *', timeZone: 'Europe/Berlin' });
    expect(result.spec!.run).toEqual(STORED.spec!.run);
    expect(applied({ spec: { run: { task: 'new' } } }, 'spec.run.task').spec!.run).toMatchObject({
      task: 'new',
      queue: 'q',
      labels: { x: 'y' },
    });
  });

  it('clear what they name and the request lacks', () => {
    expect(applied({}, 'description', 'labels')).toMatchObject({ description: '', labels: {} });
    expect(applied({ spec: {} }, 'spec.jitter').spec!.jitter).toBeUndefined();
    expect(applied({}, 'spec.run.queue').spec!.run).toMatchObject({ task: 'old', queue: '' });
    expect(applied({}, 'spec').spec).toBeUndefined();
  });

  it('replace labels as a whole', () => {
    expect(applied({ labels: { tier: 'c' } }, 'labels').labels).toEqual({ tier: 'c' });
  });

  it('move a pattern from one kind to another', () => {
    const given = { spec: { pattern: { case: 'rate', value: { interval: { seconds: 60n } } } } } as const;
    expect(applied(given, 'spec.rate').spec!.pattern).toMatchObject({ case: 'rate' });
    expect(applied(given, 'spec.rate.interval').spec!.pattern).toMatchObject({ case: 'rate' });
    // Clearing a kind that it is not changes nothing.
    expect(applied({}, 'spec.rate.interval')).toEqual(STORED);
    expect(applied({}, 'spec.at')).toEqual(STORED);
  });

  it('leave both messages as they were', () => {
    const given = schedule({
      spec: { run: { task: 'new', inputs: { content: { case: 'values', value: { a: 1 } } } } },
    });
    const before = [structuredClone(STORED), structuredClone(given)];
    const result = applyMask(STORED, given, resolveMask(['spec.run.inputs']));
    (result.spec!.run!.inputs!.content.value as Record<string, unknown>).a = 2;
    expect([STORED, given]).toEqual(before);
  });

  it.each([
    'name',
    'uid',
    'etag',
    'state',
    'status',
    '',
    'spec.',
    '.spec',
    'spec.pattern',
    'spec.cron.timeZone',
    'spec.cron.expression.length',
    'spec.jitter.seconds',
    'spec.run.inputs.values.fields',
    'spec.run.labels.x',
    'labels.team',
    'labels.__proto__',
    '__proto__',
    'constructor',
    'spec.*',
  ])('refuse %j', (path) => {
    expect(() => resolveMask(['description', path])).toThrow(DomainError);
  });
});
