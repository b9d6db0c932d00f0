import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  eventOfAttemptEnd,
  isTerminal,
  phasesBefore,
  RUN_EVENTS,
  RUN_PHASES,
  type RunEvent,
  type RunPhase,
  runStep,
} from './run-state.ts';

const event = fc.constantFrom(...RUN_EVENTS);
const initial = fc.constantFrom<RunPhase>('QUEUED', 'BUFFERED', 'SKIPPED');

function walk(from: RunPhase, events: readonly RunEvent[]): RunPhase[] {
  const path = [from];
  for (const next of events) {
    const step = runStep(path.at(-1) ?? from, next);
    if (step !== 'REFUSED' && step !== 'IGNORED') path.push(step);
  }
  return path;
}

describe('runStep', () => {
  test('terminal phases are exactly the five final ones', () => {
    expect(RUN_PHASES.filter(isTerminal)).toEqual(['SUCCEEDED', 'FAILED', 'ABORTED', 'TIMED_OUT', 'SKIPPED']);
  });

  test('nothing leaves a terminal phase, whatever happens', () => {
    fc.assert(
      fc.property(initial, fc.array(event, { maxLength: 40 }), (from, events) => {
        const path = walk(from, events);
        const end = path.findIndex(isTerminal);
        return end === -1 || end === path.length - 1;
      }),
    );
  });

  test('a run ends as succeeded, failed or timed out only out of RUNNING, and runs only out of QUEUED', () => {
    fc.assert(
      fc.property(initial, fc.array(event, { maxLength: 40 }), (from, events) => {
        const path = walk(from, events);
        path.forEach((phase, index) => {
          if (index === 0) return;
          if (['SUCCEEDED', 'FAILED', 'TIMED_OUT'].includes(phase)) expect(path[index - 1]).toBe('RUNNING');
          if (phase === 'RUNNING') expect(['QUEUED', 'RUNNING']).toContain(path[index - 1]);
        });
      }),
    );
  });

  test('an abort asked for in any phase that is not final can end the run', () => {
    for (const phase of RUN_PHASES.filter((candidate) => !isTerminal(candidate))) {
      expect(walk(phase, ['REQUEST_ABORT', 'ABORT']).at(-1)).toBe('ABORTED');
    }
  });

  test('phasesBefore inverts it', () => {
    for (const happening of RUN_EVENTS) {
      for (const next of RUN_PHASES) {
        const before = phasesBefore(happening, next);
        for (const phase of RUN_PHASES) {
          expect(before.includes(phase)).toBe(runStep(phase, happening) === next);
        }
      }
    }
  });
});

describe('eventOfAttemptEnd', () => {
  const base = {
    cause: 'FAILED',
    attempt: 1,
    maxAttempts: 3,
    abortRequested: false,
    permanent: false,
  } as const;

  test.each([
    [base, 'RETRY'],
    [{ ...base, attempt: 3 }, 'FAIL'],
    [{ ...base, permanent: true }, 'FAIL'],
    [{ ...base, abortRequested: true }, 'ABORT'],
    [{ ...base, cause: 'LEASE_EXPIRED' as const }, 'RETRY'],
    [{ ...base, cause: 'LEASE_EXPIRED' as const, attempt: 3 }, 'FAIL'],
    [{ ...base, cause: 'LEASE_EXPIRED' as const, abortRequested: true }, 'ABORT'],
    [{ ...base, cause: 'ATTEMPT_TIMEOUT' as const }, 'RETRY'],
    [{ ...base, cause: 'ATTEMPT_TIMEOUT' as const, attempt: 3 }, 'TIME_OUT'],
    [{ ...base, cause: 'ATTEMPT_TIMEOUT' as const, attempt: 3, abortRequested: true }, 'ABORT'],
  ])('%o is %s', (end, expected) => {
    expect(eventOfAttemptEnd(end)).toBe(expected);
  });

  test('every answer is one that a running run accepts', () => {
    fc.assert(
      fc.property(
        fc.record({
          cause: fc.constantFrom('FAILED', 'LEASE_EXPIRED', 'ATTEMPT_TIMEOUT'),
          attempt: fc.integer({ min: 1, max: 100 }),
          maxAttempts: fc.integer({ min: 1, max: 100 }),
          abortRequested: fc.boolean(),
          permanent: fc.boolean(),
        }),
        (end) => runStep('RUNNING', eventOfAttemptEnd(end)) !== 'REFUSED',
      ),
    );
  });
});
