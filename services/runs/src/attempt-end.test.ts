import type { LockedLease } from '@carillon/db/tables/run-leases.ts';
import { systemEntropy } from '@carillon/server';
import { describe, expect, test } from 'vitest';
import { attemptOutcome } from './attempt-end.ts';
import { newRunOf } from './new-run.ts';
import { createdRow } from './run-message.ts';
import { adHoc } from './service-under-test.ts';

const almostOne = { fraction: () => 0.999_999_999, uuid: () => '' };
const created = createdRow(newRunOf(adHoc(), { nowMicros: 0, entropy: systemEntropy }), 0);
const run = { ...created, attempt: 1, max_attempts: 3, phase: 'RUNNING' as const };
const lease: LockedLease = { ...run, token: 'x', worker: 'w', abort_requested: false, overdue: false };
const answer = { code: 'EXIT_STATUS', message: 'status 2', output: Buffer.from('tail') };
const base = { run, lease, cause: 'FAILED' as const, permanent: false, answer };

describe('attemptOutcome', () => {
  test('a failed attempt waits for its back-off, which doubles, and keeps what it left behind', () => {
    expect(attemptOutcome(base, almostOne)).toMatchObject({
      phase: 'QUEUED',
      error_code: 'EXIT_STATUS',
      error_message: 'status 2',
      output: answer.output,
      answered: true,
    });
    const delays = [1, 2].map(
      (attempt) => attemptOutcome({ ...base, run: { ...run, attempt } }, almostOne).delay_ms,
    );
    expect(delays.map(Math.round)).toEqual([1_000, 2_000]);
  });

  test('the last attempt, or a permanent failure, ends the run', () => {
    const last = { ...base, run: { ...run, attempt: 3 } };
    expect(attemptOutcome(last, almostOne)).toMatchObject({ phase: 'FAILED', delay_ms: 0 });
    expect(attemptOutcome({ ...base, permanent: true }, almostOne).phase).toBe('FAILED');
  });

  test('silence is told in our words', () => {
    const { answer: _, ...silent } = base;
    expect(attemptOutcome({ ...silent, cause: 'LEASE_EXPIRED' }, almostOne)).toMatchObject({
      phase: 'QUEUED',
      error_code: 'LEASE_EXPIRED',
      answered: false,
      output: null,
    });
    const last = { ...silent, run: { ...run, attempt: 3 } };
    expect(attemptOutcome({ ...last, cause: 'ATTEMPT_TIMEOUT' }, almostOne)).toMatchObject({
      phase: 'TIMED_OUT',
      error_code: 'ATTEMPT_TIMEOUT',
    });
  });

  test('a worker that ran out of time keeps its words under our code', () => {
    const last = { ...base, run: { ...run, attempt: 3 }, cause: 'ATTEMPT_TIMEOUT' as const };
    expect(attemptOutcome(last, almostOne)).toMatchObject({
      phase: 'TIMED_OUT',
      error_code: 'ATTEMPT_TIMEOUT',
      error_message: 'status 2',
    });
  });

  test('after a request to abort, any end without success is that abort, with its reason', () => {
    const asked = {
      ...base,
      lease: { ...lease, abort_requested: true },
      run: { ...run, abort_reason: 'too long' },
    };
    expect(attemptOutcome(asked, almostOne)).toMatchObject({
      phase: 'ABORTED',
      error_code: 'ABORTED',
      error_message: 'too long; EXIT_STATUS: status 2',
    });
    const obedient = { ...asked, answer: { ...answer, code: 'ABORTED', message: '' } };
    expect(attemptOutcome(obedient, almostOne).error_message).toBe('too long');
  });
});
