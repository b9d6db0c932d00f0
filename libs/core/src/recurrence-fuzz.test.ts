import { describe, expect, it } from 'vitest';
import { fuzzExpression, fuzzOnce, seededRandom } from './recurrence-fuzz.ts';

const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
const RUNS = 200_000;
console.info(`recurrence-fuzz: CARILLON_SEED=${seed}`);

describe('random strings', () => {
  it('are accepted or refused, never more', { timeout: 60_000 }, () => {
    const random = seededRandom(seed);
    const outcomes = { ACCEPTED: 0, REFUSED: 0 };
    for (let n = 0; n < RUNS; n++) outcomes[fuzzOnce(fuzzExpression(random), n)]++;
    // Both sides must be met often, or this tests nothing.
    expect(outcomes.ACCEPTED).toBeGreaterThan(RUNS / 50);
    expect(outcomes.REFUSED).toBeGreaterThan(RUNS / 50);
  });

  it.each([
    '*'.repeat(256),
    ','.repeat(256),
    `${'1,'.repeat(127)} * * * *`,
    `${' '.repeat(250)}*`,
    '('.repeat(256),
    'H('.repeat(128),
    `@every ${'9'.repeat(249)}`,
    `@every ${'1h'.repeat(124)}`,
    `${'0-59/1,'.repeat(35)}0 * * * *`,
    `0 0 ${'31W,'.repeat(60)}L * *`,
    '\u{1f514}'.repeat(64),
  ])('takes less than a millisecond for %j', (text) => {
    let fastest = Number.POSITIVE_INFINITY;
    // The fastest of some: a pause of the machine is not the parser's.
    for (let n = 0; n < 15; n++) {
      const begin = performance.now();
      fuzzOnce(text, n % 3);
      fastest = Math.min(fastest, performance.now() - begin);
    }
    expect(fastest).toBeLessThan(1);
  });
});
