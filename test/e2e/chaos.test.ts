import { describe, expect, it } from 'vitest';
import { faults } from '../chaos/faults/index.ts';
import { runFault } from '../chaos/run-fault.ts';

/** Some minutes of them; `npm run chaos` runs all, at full length. */
const HERE = [
  'kill-scheduler',
  'kill-postgres',
  'frozen-leader',
  'resharding',
  'blue-green',
  'lost-answers',
  'promotion',
];

describe.each(faults.filter(({ name }) => HERE.includes(name)))('$name: $story', (fault) => {
  it('leaves every slot with one outcome', async () => {
    // The seed stands in the message of a failure; `npm run chaos -- --only NAME --short --seed N` repeats it.
    const result = await runFault(fault, 'short', Math.floor(Math.random() * 2 ** 32));

    expect(result).toMatchObject({ lost: 0, doubled: 0, early: 0, problems: [] });
    expect(result.slots).toBeGreaterThan(100);
  });
});
