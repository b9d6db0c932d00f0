import { describe, expect, test } from 'vitest';
import { planOf } from './plan.ts';
import { campaign } from './report.ts';
import { trial } from './trial.ts';

/** How long histories are lived here. CI has a longer look: `npm run simulate -- --histories 10000`. */
const LIMIT_MS = Number(process.env.CARILLON_SIMULATE_MS ?? 60_000);
/** Another seed each day, and the same all day. */
const SEED = process.env.CARILLON_SIMULATE_SEED ?? new Date().toISOString().slice(0, 10);

describe('the scheduler in virtual time', () => {
  test('loses no slot and decides none twice, whatever goes wrong', {
    timeout: LIMIT_MS + 60_000,
  }, async () => {
    const failures: string[] = [];
    const report = await campaign({
      seed: SEED,
      histories: Number.MAX_SAFE_INTEGER,
      limitMs: LIMIT_MS,
      onFailure: (seed, violations) =>
        failures.push(`npm run simulate -- --replay ${seed}: ${violations.slice(0, 3).join('; ')}`),
    });
    console.info(`seed ${SEED}: ${JSON.stringify(report)}`);
    expect(failures).toEqual([]);
    expect(report.histories).toBeGreaterThan(0);
    expect(report.slots).toBeGreaterThan(0);
  });

  test('is a function of its seed', async () => {
    for (const seed of ['replay-1', 'replay-2', 'replay-3']) {
      const [first, second] = [await trial(planOf(seed), true), await trial(planOf(seed), true)];
      expect(second.history.story).toEqual(first.history.story);
      expect(second.history.happened).toBe(first.history.happened);
      // Telling a story changes none.
      expect((await trial(planOf(seed))).history.happened).toBe(first.history.happened);
    }
  });
});
