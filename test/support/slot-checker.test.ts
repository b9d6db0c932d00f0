import { runName } from '@carillon/core/run-name.ts';
import { describe, expect, it } from 'vitest';
import { type Bell, type Found, type FoundRun, faultsOf, judge } from './slot-checker.ts';

const NOW = Date.UTC(2026, 0, 1);
const at = (second: number): number => NOW + second * 1000;
const change = (second: number) => ({ requestedMs: at(second) - 20, acknowledgedMs: at(second) });
const bell: Bell = {
  project: 'p',
  domain: 'd',
  schedule: 'tick',
  stretches: [{ from: change(0.5), isSlot: (second) => second % 2 === 0 }],
};

function runAt(second: number): FoundRun {
  return {
    project: 'p',
    domain: 'd',
    schedule: 'tick',
    runId: runName({
      project: 'p',
      domain: 'd',
      schedule: 'tick',
      nominalSec: at(second) / 1000,
      kind: 'slot',
      id: '',
    }),
    nominalMs: at(second),
    fireMs: at(second) + 2,
    createMs: at(second) + 5,
  };
}

const runs = [2, 4, 6, 8, 10].map(runAt);
const good: Found = { runs, writeOffs: [] };
const writeOff = {
  project: 'p',
  domain: 'd',
  schedule: 'tick',
  nominalMs: at(4),
  lastNominalMs: at(6),
  slots: 2,
  outcome: 'MISSED',
  reason: 'BEYOND_WINDOW',
};

/** The history with its third run (that of second 6) changed, or taken out. */
function mutated(mutate: (run: FoundRun) => readonly FoundRun[]): Found {
  return { runs: runs.flatMap((run, index) => (index === 2 ? mutate(run) : [run])), writeOffs: [] };
}

describe('the checker', () => {
  it('finds nothing wrong with a run for each slot', () => {
    const verdict = judge([bell], good, at(11));
    expect(verdict).toMatchObject({ slots: 5, runs: 5, writtenOff: 0 });
    expect(faultsOf(verdict)).toEqual([]);
    expect(verdict.latenessMs).toEqual([5, 5, 5, 5, 5]);
  });

  it.each([
    ['a run is dropped', mutated(() => []), 'lost: tick 2026-01-01T00:00:06Z'],
    ['a run is duplicated', mutated((run) => [run, run]), 'doubled: tick 2026-01-01T00:00:06Z'],
    ['a run is shifted', mutated(() => [runAt(7)]), 'extra: tick 2026-01-01T00:00:07Z'],
    [
      'a run is sent before its time',
      mutated((run) => [{ ...run, fireMs: run.nominalMs - 1 }]),
      'early: tick 2026-01-01T00:00:06Z',
    ],
    [
      'a run is created before its time',
      mutated((run) => [{ ...run, createMs: run.nominalMs - 1 }]),
      'early: tick 2026-01-01T00:00:06Z',
    ],
    [
      'a run has the name of another slot',
      mutated((run) => [{ ...run, runId: runAt(8).runId }]),
      'misnamed: tick 2026-01-01T00:00:06Z',
    ],
    [
      'a run is of no schedule that was created',
      mutated((run) => [run, { ...run, schedule: 'other' }]),
      'extra: other 2026-01-01T00:00:06Z',
    ],
    [
      'the ledger counts a slot as missed that has a run',
      { ...good, writeOffs: [writeOff] },
      'contradicted: tick 2026-01-01T00:00:04Z MISSED BEYOND_WINDOW: 2 slots, but 0 without a run',
    ],
  ])('finds that %s', (_, found, fault) => {
    expect(faultsOf(judge([bell], found, at(11)))).toContain(fault);
  });

  it('takes a slot that the ledger settles for settled, and says so', () => {
    const found = {
      runs: runs.filter((run) => run.nominalMs < at(4) || run.nominalMs > at(6)),
      writeOffs: [writeOff],
    };
    const verdict = judge([bell], found, at(11));
    expect(faultsOf(verdict)).toEqual([]);
    expect(verdict.writtenOff).toBe(2);
  });

  it('wants no slots before an activation nor after a deactivation, and forgives those in between request and answer', () => {
    const from = { requestedMs: at(3.9), acknowledgedMs: at(4.1) };
    const to = { requestedMs: at(7.9), acknowledgedMs: at(8.1) };
    const stopped: Bell = { ...bell, stretches: [{ from, to, isSlot: (second) => second % 2 === 0 }] };
    const judged = (...seconds: number[]) =>
      faultsOf(judge([stopped], { runs: seconds.map(runAt), writeOffs: [] }, at(11)));
    expect(judged(6)).toEqual([]);
    expect(judged(4, 6, 8)).toEqual([]);
    expect(judged(4, 8)).toEqual(['lost: tick 2026-01-01T00:00:06Z']);
    expect(judged(2, 6)).toEqual(['extra: tick 2026-01-01T00:00:02Z']);
    expect(judged(6, 10)).toEqual(['extra: tick 2026-01-01T00:00:10Z']);
  });
});
