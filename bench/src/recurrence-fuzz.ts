import { fuzzExpression, fuzzOnce, seededRandom } from '@carillon/core/recurrence-fuzz.ts';

const SLOW_MS = 1;
// Above this a string is tried again, to tell its own cost from the machine's.
const SUSPECT_MS = 0.1;

/** The fastest of some runs: a pause of the machine, or a collection of garbage, is not the parser's. */
function fastest(text: string, n: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const begin = performance.now();
    fuzzOnce(text, n);
    best = Math.min(best, performance.now() - begin);
  }
  return best;
}

/**
 * `npm run bench -- recurrence-fuzz [strings, default 10,000,000] [seed]`. Random strings of at most 256 characters to
 * the parser of cron expressions, and a first slot and a description for those it accepts. Throws at the first that
 * breaks anything, or that takes more than a millisecond however often it is tried.
 */
export async function run(args: readonly string[]): Promise<object> {
  const strings = Number(args[0] ?? 10_000_000);
  const seed = Number(args[1] ?? Date.now() % 2 ** 31);
  if (!(strings > 0) || !Number.isInteger(seed)) {
    throw new RangeError('usage: npm run bench -- recurrence-fuzz [strings] [seed]');
  }
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const outcomes = { ACCEPTED: 0, REFUSED: 0 };
  let [slowestMs, suspects] = [0, 0];
  const begin = performance.now();
  for (let n = 0; n < strings; n++) {
    const text = fuzzExpression(random);
    const start = performance.now();
    outcomes[fuzzOnce(text, n)]++;
    let elapsed = performance.now() - start;
    if (elapsed > SUSPECT_MS) {
      suspects++;
      elapsed = fastest(text, n);
      if (elapsed > SLOW_MS)
        throw new Error(`${JSON.stringify(text)} takes ${elapsed.toFixed(2)} ms (seed ${seed})`);
    }
    slowestMs = Math.max(slowestMs, elapsed);
    if ((n + 1) % 1_000_000 === 0) console.log(`${(n + 1).toLocaleString('en')} strings`, outcomes);
  }
  const perSecond = Math.round((strings * 1000) / (performance.now() - begin));
  const { ACCEPTED: accepted, REFUSED: refused } = outcomes;
  return {
    bench: 'recurrence-fuzz',
    seed,
    strings,
    accepted,
    refused,
    crashes: 0,
    slowestMs: Math.round(slowestMs * 1000) / 1000,
    retried: suspects,
    perSecond,
  };
}
