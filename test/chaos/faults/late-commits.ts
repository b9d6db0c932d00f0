import type { Fault } from '../fault.ts';

export const lateCommits: Fault = {
  name: 'late-commits',
  numbers: [21],
  story:
    '50 writers at once, each of whose commits takes up to a second, in another order than they began. None is skipped.',
  setUp: { bells: 10 },
  async run(scenario, length) {
    const { pool } = scenario;
    await scenario.ringing();
    await pool.query(`
      create function late_commit() returns trigger language plpgsql as
        $$ begin perform pg_sleep(random()); return null; end $$;
      create constraint trigger late_commit after insert on schedule_spans deferrable initially deferred
        for each row execute function late_commit()
    `);
    const rounds = length === 'full' ? 10 : 2;
    for (let round = 0; round < rounds; round++) {
      const added = await scenario.addBells(50);
      await scenario.ringing();
      await Promise.all(added.slice(10).map((bell) => scenario.deactivate(bell)));
    }
    await pool.query('drop trigger late_commit on schedule_spans');
    const missed = await scenario.stack.scheduler.metric('carillon_scheduler_feed_missed_total');
    if (missed > 0) throw new Error(`the feed had missed ${missed} changes`);
    // A slot between a span's beginning and its commit is as late as that commit.
    return { latenessLimitMs: 4_000, mayWriteOff: true, figures: { writes: rounds * 90 } };
  },
};
