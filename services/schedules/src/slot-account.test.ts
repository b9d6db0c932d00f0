import type { RecordedOutcome, SlotSettlement } from '@carillon/db/tables/slot-outcomes.ts';
import type { SlotSpan } from '@carillon/db/tables/slot-spans.ts';
import { describe, expect, it } from 'vitest';
import { accountOf, maybeHasRun, recordOf } from './slot-account.ts';
import type { WalkedSlot } from './slot-walk.ts';

const NOW_MS = 1_000_000_000;
const NOW_SEC = NOW_MS / 1000;

function slot(nominalSec: number, span: Partial<SlotSpan> = {}, jitterMs = 0): WalkedSlot {
  return {
    nominalSec,
    dueMs: nominalSec * 1000 + jitterMs,
    timeZone: 'UTC',
    span: {
      span: 1,
      revision: 1,
      state: 'ACTIVE',
      fromMs: 0,
      toMs: null,
      timing: Buffer.alloc(0),
      task: 't',
      stop: null,
      stopMs: null,
      pauseActor: null,
      pauseMs: null,
      pauseReason: null,
      frontierMs: NOW_MS,
      ...span,
    },
  };
}

function record(nominalSec: number, changes: Partial<RecordedOutcome> = {}): RecordedOutcome {
  return {
    revision: 1,
    nominalMs: nominalSec * 1000,
    lastNominalMs: nominalSec * 1000,
    slots: 1,
    outcome: 'DEAD',
    reason: 'NOT_FOUND',
    message: 'no task',
    runId: '',
    fireMs: null,
    recordMs: NOW_MS,
    ...changes,
  };
}

const range = (from: number, through: number, changes: Partial<RecordedOutcome> = {}): RecordedOutcome =>
  record(from, {
    lastNominalMs: through * 1000,
    slots: through - from + 1,
    outcome: 'MISSED',
    reason: 'BEYOND_WINDOW',
    ...changes,
  });

/** Nothing is settled, and a scheduler leads. */
const OPEN: SlotSettlement = {
  nowMs: NOW_MS,
  throughMs: 0,
  settledAbove: [],
  lags: false,
  led: true,
  quarantineReason: null,
};

describe('the record that holds for a slot', () => {
  const dead = record(50);
  const redriven = record(50, { outcome: 'FIRED', reason: 'REDRIVEN', recordMs: NOW_MS - 1 });

  it('is that of a redrive, whatever its time, before any other', () => {
    expect(recordOf(slot(50), [dead, redriven])).toBe(redriven);
    expect(recordOf(slot(50), [redriven, dead])).toBe(redriven);
  });

  it('is its own before one of many slots', () => {
    const many = range(40, 60);
    expect(recordOf(slot(50), [many, dead])).toBe(dead);
    expect(recordOf(slot(50), [dead, many])).toBe(dead);
    expect(recordOf(slot(51), [many, dead])).toBe(many);
  });

  it('is none of another time, nor one of many slots of another revision', () => {
    expect(recordOf(slot(39), [range(40, 60)])).toBeUndefined();
    expect(recordOf(slot(61), [range(40, 60)])).toBeUndefined();
    expect(recordOf(slot(50), [range(40, 60, { revision: 2 })])).toBeUndefined();
    expect(recordOf(slot(50), [range(40, 60, { revision: 2, slots: 0 })])).toBeUndefined();
  });
});

describe('the runs service is asked', () => {
  it.each([
    ['for what no record speaks of', slot(50), undefined, true],
    ['for what a record of many slots speaks of', slot(50), range(40, 60), true],
    ['not for what has a record of its own', slot(50), record(50), false],
    ['not for what lies in a pause', slot(50, { state: 'PAUSED' }), undefined, false],
    ['not for what is not due', slot(NOW_SEC, {}, 1), undefined, false],
    ['for what has just fallen due', slot(NOW_SEC), undefined, true],
  ] as const)('%s', (_, asked, found, expected) => {
    expect(maybeHasRun(asked, found, NOW_MS)).toBe(expected);
  });
});

describe('what became of a slot', () => {
  const run = { name: 'r', fireMs: 1, skipped: false, message: '' };
  const outcome = (...args: Parameters<typeof accountOf>) => {
    const { outcome: word, reason } = accountOf(...args);
    return reason === '' ? word : `${word} ${reason}`;
  };

  it('is told by its run before a record of many slots', () => {
    expect(outcome(slot(50), range(40, 60), run, OPEN)).toBe('FIRED');
    expect(outcome(slot(50), undefined, { ...run, skipped: true }, OPEN)).toBe('SKIPPED OVERLAP');
  });

  it('is told by its record', () => {
    expect(outcome(slot(50), range(40, 60), undefined, OPEN)).toBe('MISSED BEYOND_WINDOW');
    expect(outcome(slot(50), record(50), undefined, OPEN)).toBe('DEAD NOT_FOUND');
    const fired = record(50, { outcome: 'FIRED', reason: 'REDRIVEN' });
    expect(outcome(slot(50), fired, undefined, OPEN)).toBe('FIRED REDRIVEN');
    expect(outcome(slot(50), { ...fired, reason: 'CREATED' }, undefined, OPEN)).toBe('FIRED');
  });

  it('is told by its span while that is a pause', () => {
    const paused = { state: 'PAUSED' } as const;
    expect(outcome(slot(NOW_SEC, paused), undefined, undefined, OPEN)).toBe('SKIPPED PAUSED');
    expect(outcome(slot(NOW_SEC + 1, paused), undefined, undefined, OPEN)).toBe('PENDING PAUSED');
  });

  const late = slot(NOW_SEC - 60);
  it.each<[string, WalkedSlot, Partial<SlotSettlement>, string]>([
    ['not due', slot(NOW_SEC + 1), { led: false }, 'PENDING NOT_DUE'],
    ['not due yet, by its jitter', slot(NOW_SEC - 1, {}, 5_000), {}, 'PENDING NOT_DUE'],
    ['nobody leads', late, { led: false }, 'PENDING NO_LEADER'],
    ['quarantined', late, { quarantineReason: 'no such zone', led: false }, 'PENDING QUARANTINED'],
    [
      'stopped before it was sent',
      slot(NOW_SEC - 60, { stop: 'DELETED' }),
      { led: false },
      'PENDING STOPPED',
    ],
    ['just due', slot(NOW_SEC - 9), {}, 'PENDING IN_PROGRESS'],
    ['late', late, {}, 'PENDING BEHIND'],
    ['late, before anything was settled', late, { throughMs: null }, 'PENDING BEHIND'],
    ['settled, with nothing left of it', late, { throughMs: late.dueMs }, 'UNKNOWN NOT_KEPT'],
    ['unsettled by a millisecond', late, { throughMs: late.dueMs - 1 }, 'PENDING BEHIND'],
    [
      'settled above a watermark',
      late,
      { throughMs: 0, settledAbove: [[late.dueMs - 1, late.dueMs]], lags: true },
      'UNKNOWN NOT_KEPT',
    ],
    [
      'of a span that the watermark does not speak of',
      slot(NOW_SEC - 60, { frontierMs: null }),
      { throughMs: NOW_MS },
      'PENDING BEHIND',
    ],
    [
      'of a span that the furthest frontier does not speak of',
      slot(NOW_SEC - 60, { frontierMs: late.dueMs - 1 }),
      { throughMs: NOW_MS },
      'PENDING BEHIND',
    ],
  ])('%s', (_, asked, settlement, expected) => {
    expect(outcome(asked, undefined, undefined, { ...OPEN, ...settlement })).toBe(expected);
  });
});
