import { describe, expect, test } from 'vitest';
import { gapsBetween, ruledOut } from './catch-up-rules.ts';
import { judge } from './checker.ts';
import { type History, live } from './history.ts';
import { planOf } from './plan.ts';
import type { WrittenLedgerRow } from './sim-database.ts';
import type { SimRun } from './sim-runs.ts';

/** Histories that were lived already, by their place. */
const lived: History[] = [];

/** The first history in which `find` finds something. */
async function historyWith<T>(find: (history: History) => T | undefined): Promise<[History, T]> {
  for (let index = 0; index < 1_500; index++) {
    const history = lived[index] ?? (await live(planOf(`mutation-${index}`)));
    lived[index] = history;
    const found = find(history);
    if (found !== undefined) return [history, found];
  }
  throw new Error('no seed gives a history that is fit for this');
}

function verdictOn(history: History, changes: Partial<History>): string {
  return judge({ ...history, ...changes }).violations.join('\n');
}

/** The ledger with one of its rows replaced, or without it. */
function ledgerWith(
  { ledger }: History,
  victim: WrittenLedgerRow,
  replacement?: Partial<WrittenLedgerRow>,
): Map<string, WrittenLedgerRow> {
  return new Map(
    [...ledger].flatMap(([key, row]): [string, WrittenLedgerRow][] => {
      if (row !== victim) return [[key, row]];
      return replacement ? [[key, { ...row, ...replacement }]] : [];
    }),
  );
}

function rowWith(outcome: string, reason: string): (history: History) => WrittenLedgerRow | undefined {
  return ({ ledger }) => [...ledger.values()].find((row) => row.outcome === outcome && row.reason === reason);
}

/** The row of a pause that has ended, of more slots than one. */
function pauseRow({ ledger, schedules, slotsOf }: History): WrittenLedgerRow | undefined {
  const pauses = schedules.flatMap((schedule) =>
    slotsOf(schedule).pauses.map(({ nominals }) => `${schedule.id} ${nominals[0]! * 1000} SKIPPED`),
  );
  return pauses.map((key) => ledger.get(key)).find((row) => row && row.slots > 1);
}

describe('redrives', () => {
  test('one of which nothing came is lost', async () => {
    const [history, row] = await historyWith(({ redrives }) => redrives[0]);
    expect(verdictOn(history, { openRedrives: [row] })).toContain('was lost');
  });

  test('a dead slot has no run that nobody asked for', async () => {
    const [history, row] = await historyWith(rowWith('FIRED', 'REDRIVEN'));
    expect(verdictOn(history, {})).toBe('');
    const redrives = history.redrives.filter(({ nominalMs }) => nominalMs !== row.nominalMs);
    const verdict = verdictOn(history, { redrives });
    expect(verdict).toContain('has a run, and is DEAD as well');
    expect(verdict).toContain('nobody asked for the redrive');
    // Nor one that was looked at before it was asked for.
    const runs = history.runs.map((run) =>
      run.nominal * 1000 === row.nominalMs ? { ...run, lookedAtMs: -1 } : run,
    );
    expect(verdictOn(history, { runs })).toContain('has a run, and is DEAD as well');
  });

  test('the ledger tells of the run of a redrive', async () => {
    const [history, row] = await historyWith(rowWith('FIRED', 'REDRIVEN'));
    expect(verdictOn(history, { ledger: ledgerWith(history, row) })).toContain('which no ledger row tells');
  });

  test('one that a stop ended was stopped after it had been asked for', async () => {
    const [history, row] = await historyWith(rowWith('DEAD', 'REDRIVE_STOPPED'));
    const redrives = history.redrives.map((each) =>
      each.nominalMs === row.nominalMs ? { ...each, requestMs: Number.MAX_SAFE_INTEGER } : each,
    );
    expect(verdictOn(history, { redrives })).toContain('no stop came after');
  });
});

describe('pauses', () => {
  test('each has its row', async () => {
    const [history, row] = await historyWith(pauseRow);
    expect(verdictOn(history, {})).toBe('');
    expect(verdictOn(history, { ledger: ledgerWith(history, row) })).toContain('of a pause');
  });

  test('their rows count right, and name the last slot and the revision', async () => {
    const [history, row] = await historyWith(pauseRow);
    for (const wrong of [
      { slots: row.slots - 1 },
      { lastNominalMs: row.lastNominalMs - 1_000 },
      { revision: row.revision + 1 },
    ])
      expect(verdictOn(history, { ledger: ledgerWith(history, row, wrong) })).toContain('of a pause');
  });
});

describe('overlap policies', () => {
  const skippedRun = ({ runs, redrives }: History): SimRun | undefined =>
    runs.find(
      ({ outcome, nominal }) =>
        outcome === 'SKIPPED' && redrives.every(({ nominalMs }) => nominalMs !== nominal * 1000),
    );

  test('a run that was skipped is told as such, and not as fired', async () => {
    const [history, run] = await historyWith(skippedRun);
    expect(verdictOn(history, {})).toBe('');
    const row = [...history.ledger.values()].find(
      ({ nominalMs, reason }) => nominalMs === run.nominal * 1000 && reason === 'OVERLAP',
    )!;
    expect(verdictOn(history, { ledger: ledgerWith(history, row) })).toContain('no ledger row says so');
    const fired = { ...row, outcome: 'FIRED', reason: 'CREATED' } as const;
    expect(verdictOn(history, { ledger: ledgerWith(history, row, fired) })).toContain('it has no run');
  });

  test('a slot is skipped in favour of others only if its run says so', async () => {
    const [history, run] = await historyWith(skippedRun);
    const runs = history.runs.map((each) => (each === run ? { ...each, outcome: 'STARTED' as const } : each));
    expect(verdictOn(history, { runs })).toContain('is SKIPPED as well');
    expect(verdictOn(history, { runs: history.runs.filter((each) => each !== run) })).toContain(
      'and has no run',
    );
  });

  test('each decision is what its policy promises', async () => {
    const isOf = (policy: string, kind: string): ((history: History) => number | undefined) => {
      return ({ keyEvents }) => {
        const place = keyEvents.findIndex((event) => event.run.policy === policy && event.kind === kind);
        return place < 0 ? undefined : place;
      };
    };
    for (const [policy, was, becomes, objection] of [
      ['SKIP', 'STARTED', 'SKIPPED', 'was skipped for nothing'],
      ['SKIP', 'SKIPPED', 'STARTED', 'was started beside'],
      ['SKIP', 'STARTED', 'BUFFERED', 'was buffered'],
      ['BUFFER_ALL', 'BUFFERED', 'SKIPPED', 'was skipped'],
      ['BUFFER_ALL', 'BUFFERED', 'STARTED', 'was started beside'],
      ['BUFFER_ONE', 'SKIPPED', 'BUFFERED', 'although one is buffered'],
      ['TERMINATE_OTHER', 'STARTED', 'SKIPPED', 'in favour of earlier ones'],
      ['CANCEL_OTHER', 'STARTED', 'BUFFERED', 'was buffered for nothing'],
    ] as const) {
      const [history, place] = await historyWith(isOf(policy, was));
      const keyEvents = history.keyEvents.map((event, index) =>
        index === place ? { ...event, kind: becomes } : event,
      );
      expect(verdictOn(history, { keyEvents }), `${policy}: ${was} as ${becomes}`).toContain(objection);
    }
  });

  test('only earlier runs are stopped, and none goes beside too many', async () => {
    const [history, place] = await historyWith(({ keyEvents }) => {
      const found = keyEvents.findIndex(({ kind }) => kind === 'STOPPED');
      return found < 0 ? undefined : found;
    });
    const later = history.keyEvents.map((event, index) =>
      index === place ? { ...event, run: { ...event.run, nominal: event.run.nominal + 1_000 } } : event,
    );
    expect(verdictOn(history, { keyEvents: later })).toContain('which is not earlier');
    const [buffered, wentAt] = await historyWith(({ keyEvents }) => {
      const found = keyEvents.findIndex(({ kind }) => kind === 'WENT');
      return found < 0 ? undefined : found;
    });
    const tooEarly = buffered.keyEvents.toSpliced(wentAt - 1, 1);
    expect(verdictOn(buffered, { keyEvents: tooEarly })).toContain('went beside');
  });
});

describe('catch-up', () => {
  /** A row of which the first slot is ruled out: others are not judged by all rules. */
  const missed = (reason: string) => (history: History) => {
    if (history.databaseSteps || history.troubledSinceMs.size > 0) return undefined;
    return history.schedules
      .flatMap((schedule) =>
        ruledOut(
          gapsBetween(history.termsOf(schedule)),
          history.slotsOf(schedule).all,
          (revision) => schedule.revision(revision).spec,
          history.plan.epochMs,
        ).map(({ nominal }) => history.ledger.get(`${schedule.id} ${nominal * 1000} MISSED`)),
      )
      .find((row) => row?.reason === reason);
  };

  test.each(['CATCH_UP_NONE', 'SUPERSEDED', 'BEYOND_LIMIT'])(
    'a slot that is %s has no run, and nobody led when it fell due',
    async (reason) => {
      const [history, row] = await historyWith(missed(reason));
      expect(verdictOn(history, {})).toBe('');
      const always = [{ readyMs: Number.NEGATIVE_INFINITY, endMs: Number.POSITIVE_INFINITY }];
      expect(verdictOn(history, { termsOf: () => always })).toContain('somebody led when it fell due');
      const example = history.runs[0]!;
      const uid = history.schedules.find(({ id }) => id === row.schedule)!.uid;
      const run = { ...example, scheduleUid: uid, nominal: row.nominalMs / 1000, revision: row.revision };
      expect(verdictOn(history, { runs: [...history.runs, run] })).toContain('fires newer ones at most');
    },
  );
});
