import { beforeAll, describe, expect, test } from 'vitest';
import { judge } from './checker.ts';
import { type History, live } from './history.ts';
import { type Plan, planOf } from './plan.ts';
import type { WrittenLedgerRow } from './sim-database.ts';
import type { SimRun } from './sim-runs.ts';

/** A history in which nothing went wrong, and enough happened. */
async function historyWith(isFit: (plan: Plan, history: History) => boolean): Promise<History> {
  for (let index = 0; index < 500; index++) {
    const plan = planOf(`checker-${index}`);
    if (!plan.calm) continue;
    const history = await live(plan);
    if (isFit(plan, history)) return history;
  }
  throw new Error('no seed gives a history that is fit for this');
}

let good: History;

beforeAll(async () => {
  good = await historyWith(
    (_, history) => history.runs.length >= 20 && history.schedules.some(({ spans }) => spans.length === 1),
  );
});

/** What the checker says if the runs were these. */
function verdictOn(runs: readonly SimRun[], history = good): readonly string[] {
  return judge({ ...history, runs }).violations;
}

function ledgerOf(...rows: readonly WrittenLedgerRow[]): Map<string, WrittenLedgerRow> {
  return new Map(rows.map((row) => [`${row.schedule} ${row.nominalMs} ${row.outcome}`, row]));
}

/** The runs with one of them replaced; of a schedule without changes, so that no grace applies. */
function withOne(change: (run: SimRun) => readonly SimRun[]): readonly SimRun[] {
  const steady = good.schedules.filter(({ spans }) => spans.length === 1).map(({ uid }) => uid);
  const victim = good.runs.findLast(
    (run) => steady.includes(run.scheduleUid) && run.nominal * 1000 <= good.settledByMs - 1_000,
  );
  if (!victim) throw new Error('there is no run of a schedule without changes');
  return good.runs.flatMap((run) => (run === victim ? change(run) : [run]));
}

describe('the checker', () => {
  test('has nothing against a good history', () => {
    expect(verdictOn(good.runs)).toEqual([]);
    expect(judge(good).slots).toBeGreaterThanOrEqual(20);
  });

  test('notices a run that is missing', () => {
    expect(verdictOn(withOne(() => []))).toEqual([expect.stringContaining('has no outcome')]);
  });

  test('notices a second run of a slot, also under another name', () => {
    expect(verdictOn(withOne((run) => [run, run])).join()).toContain('has two runs');
    expect(verdictOn(withOne((run) => [run, { ...run, name: `${run.name}x` }])).join()).toContain(
      'has two runs',
    );
  });

  test('notices a run for a time that is no slot', () => {
    // Between two slots there is always a half second.
    const verdict = verdictOn(withOne((run) => [{ ...run, nominal: run.nominal + 0.5 }])).join();
    expect(verdict).toContain('which is no slot');
    expect(verdict).toContain('has no outcome');
  });

  test("notices a run for another schedule's slot", () => {
    expect(verdictOn(withOne((run) => [{ ...run, scheduleUid: 'nobody' }])).join()).toContain(
      'unknown schedule',
    );
  });

  test('notices a run that was created early', () => {
    const early = withOne((run) => [{ ...run, highestDatabaseMs: run.highestDatabaseMs - 100_000 }]);
    expect(verdictOn(early)).toEqual([expect.stringContaining('ms early')]);
    const sentEarly = withOne((run) => [{ ...run, fireMs: run.nominal * 1000 - 1 }]);
    expect(verdictOn(sentEarly).join()).toContain('says that it was sent early');
  });

  test('notices a run that was late for no reason', () => {
    expect(verdictOn(withOne((run) => [{ ...run, fireMs: run.fireMs + 60_000 }]))).toEqual([
      expect.stringContaining('late for no reason'),
    ]);
  });

  test('notices an outcome of a slot that has a run, and one without a reason', () => {
    const run = good.runs.find(({ scheduleUid }) => scheduleUid === good.schedules[0]!.uid)!;
    const row = {
      schedule: good.schedules[0]!.id,
      revision: run.revision,
      nominalMs: run.nominal * 1000,
      lastNominalMs: run.nominal * 1000,
      slots: 1,
      outcome: 'MISSED',
      reason: 'BEYOND_WINDOW',
      message: '',
      runId: '',
      fireMs: undefined,
      latenessMs: undefined,
      atMs: 0,
      highestDatabaseMs: run.nominal * 1000,
      epoch: 1,
    } as const;
    expect(judge({ ...good, ledger: ledgerOf(row) }).violations.join()).toContain('as well');
    const runs = good.runs.filter((other) => other !== run);
    expect(judge({ ...good, runs, ledger: ledgerOf(row) }).violations.join()).toContain(
      'its window had not passed',
    );
    expect(judge({ ...good, runs, ledger: ledgerOf({ ...row, slots: 2 }) }).violations.join()).toContain(
      'speaks of 2 slots',
    );
  });

  test('notices a run that was sent after a stop', async () => {
    const isStop = (reason: string | undefined): boolean => reason === 'PAUSED' || reason === 'DEACTIVATED';
    const history = await historyWith((_, { schedules, runs }) =>
      schedules.some(
        ({ spans, uid }) => isStop(spans[0]?.end?.reason) && runs.some((run) => run.scheduleUid === uid),
      ),
    );
    const schedule = history.schedules.find(
      ({ spans, uid }) =>
        isStop(spans[0]?.end?.reason) && history.runs.some((run) => run.scheduleUid === uid),
    )!;
    const end = schedule.spans[0]!.end!;
    const victim = history.runs.find(
      (run) => run.scheduleUid === schedule.uid && run.nominal * 1000 <= end.toMs,
    );
    if (!victim) throw new Error('no run lies before the stop');
    const runs = history.runs.map((run) =>
      run === victim ? { ...run, lookedAtMs: end.seenAtMs! + 1 } : run,
    );
    expect(verdictOn(runs, history).join()).toContain('was sent although the schedule had been');
  });
});
