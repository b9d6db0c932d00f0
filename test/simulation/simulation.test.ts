import { describe, expect, test } from 'vitest';
import { campaign } from './campaign.ts';
import { planOf } from './plan.ts';
import { trial } from './trial.ts';

/**
 * The same histories each time, whatever the machine's speed: what fails here failed before a change landed. New ones are for
 * `npm run simulate -- --histories 10000 --seed SEED`.
 */
const HISTORIES = Number(process.env.CARILLON_SIMULATE_HISTORIES ?? 10_000);
const SEED = process.env.CARILLON_SIMULATE_SEED ?? 'carillon';
/** For what hangs, not for a busy machine. */
const LIMIT_MS = 1_800_000;

describe('the scheduler in virtual time', () => {
  test('loses no slot and decides none twice, whatever goes wrong', {
    timeout: LIMIT_MS + 60_000,
  }, async () => {
    const failures: string[] = [];
    const report = await campaign({
      seed: SEED,
      histories: HISTORIES,
      limitMs: LIMIT_MS,
      onFailure: (seed, violations) =>
        failures.push(`npm run simulate -- --replay ${seed}: ${violations.slice(0, 3).join('; ')}`),
    });
    console.info(`seed ${SEED}: ${JSON.stringify(report)}`);
    expect(failures).toEqual([]);
    expect(report.histories).toBe(HISTORIES);
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
