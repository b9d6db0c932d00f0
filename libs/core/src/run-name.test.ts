import { describe, expect, test } from 'vitest';
import { flyteRunName, type RunNameKind, runName } from './run-name.ts';

// Computed by an implementation of its own, in Python.
const GOLDEN: readonly [string, string, string, number, RunNameKind, string, string][] = [
  ['p', 'd', 's', 0, 'slot', '', 'rg4xbkqjzwpjfpkgpu7rxaui2me'],
  ['payments', 'production', 'nightly-report', 1793523600, 'slot', '', 'rp5lu6spehqwvedkbr2q3odargy'],
  ['a', 'b-c', 'd', 1793523600, 'slot', '', 'rbuyg7eqq3ejstcws2mryj6xez3'],
  ['a-b', 'c', 'd', 1793523600, 'slot', '', 'rbvqqownvv3kwj53wvw7wioprrh'],
  ['p', 'd', 's', 4102444800, 'slot', '', 'rbqysuypr4ur3liidnjwmnzcimq'],
  ['p', 'd', 's', 0, 'backfill', 'b1', 'rs6csovnbgq45rt65loqxpglkvp'],
  ['p', 'd', 's', 0, 'trigger', 'b1', 'rg3zoq7le5rxfcvdmxkdo3ehr5v'],
  ['größe', '日本', 'ärger', 951782400, 'slot', '', 'rqwdw46w75ywaojrvyrrlsu6ejr'],
];

describe('run names', () => {
  test.each(GOLDEN)('%s %s %s %i %s %s', (project, domain, schedule, nominalSec, kind, id, name) => {
    expect(runName({ project, domain, schedule, nominalSec, kind, id })).toBe(name);
  });

  test('are DNS-1035 labels of 27 characters', () => {
    for (const [, , , , , , name] of GOLDEN) expect(name).toMatch(/^r[a-z2-7]{26}$/);
  });

  test('of the flyte scheme are those of its scheduler', () => {
    const flyte = (project: string, domain: string, task: string, schedule: string, nominalSec: number) =>
      flyteRunName({ project, domain, task, schedule, nominalSec });
    expect(flyte('flytesnacks', 'development', 'my.task', 'every-minute', 1793523600)).toBe(
      'rd100192422cbc974',
    );
    expect(flyte('p', 'd', 't', 'n', 0)).toBe('r3d4cf356b002b4d6');
    expect(flyte('p', 'd', 't', 'n', 1767225605)).toBe('r71ecce7f4c830ef6');
  });
});
