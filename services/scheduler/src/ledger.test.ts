import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

function row(changes: Partial<LedgerRow>): LedgerRow {
  return {
    schedule: 1,
    revision: 1,
    nominalMs: 1_000,
    lastNominalMs: 1_000,
    slots: 1,
    outcome: 'SKIPPED',
    reason: 'DEACTIVATED',
    message: '',
    runId: '',
    fireMs: undefined,
    latenessMs: undefined,
    ...changes,
  };
}

test('rows of slots that nobody can count are one for each stretch, however it was cut', () => {
  const ledger = new Ledger();
  const counted = [row({}), row({ schedule: 2 })];
  const longest = row({ slots: 0, lastNominalMs: 9_000 });
  const elsewhere = row({ slots: 0, schedule: 3, lastNominalMs: 4_000 });
  for (const each of [row({ slots: 0, lastNominalMs: 2_000 }), counted[0]!, longest, elsewhere])
    ledger.add(each);
  ledger.add(row({ slots: 0, lastNominalMs: 3_000 }));
  ledger.add(counted[1]!);
  expect(ledger.take()).toEqual([...counted, longest, elsewhere]);
  expect(ledger.size).toBe(0);
});
