import { unavailable } from '@carillon/core/domain-error.ts';
import { isTerminal } from '@carillon/core/run-state.ts';
import { deleteKeyedRuns, type KeyedRun } from '@carillon/db/tables/keyed-runs.ts';
import { type AbortedRun, abortWaitingRuns, requestAborts } from '@carillon/db/tables/run-aborts.ts';
import { endAttempts, lockLeases } from '@carillon/db/tables/run-leases.ts';
import { type RunDb, type RunRow, selectRuns } from '@carillon/db/tables/runs.ts';
import { ABORTED_CODE } from './attempt-end.ts';
import { runNameOf } from './run-message.ts';

/** A run that has to make room, and for whom. */
export interface StoppedRun {
  readonly other: KeyedRun;
  /** `ASK`: its worker is asked to stop. `END`: its lease is taken away. A run that no worker has ends at once either way. */
  readonly how: 'ASK' | 'END';
  readonly reason: string;
}

/** What stopping came to. */
export interface Stopping {
  /** The runs in their new state. */
  readonly changed: readonly RunRow[];
  /** The resource names of those that have ended. */
  readonly ended: ReadonlySet<string>;
}

/** A run that is leased, or goes back to its queue, between being read and being stopped is read again, this often. */
const MAX_TRIES = 10;

/** Stops runs, in a transaction that has the locks of their keys. What they held back is not started here. */
export async function stopOthers(trx: RunDb, stops: readonly StoppedRun[]): Promise<Stopping> {
  const pending = new Map(stops.map((stop) => [runNameOf(stop.other), stop]));
  const changed: RunRow[] = [];
  const ended = new Set<string>();
  for (let tries = 0; pending.size > 0; tries++) {
    if (tries === MAX_TRIES) throw unavailable('RUN_CONTENDED', 'the other runs keep changing; ask again');
    const attempted = [...pending.values()];
    const rows = new Map(
      (
        await selectRuns(
          trx,
          attempted.map(({ other }) => other),
        )
      ).map((row) => [runNameOf(row), row]),
    );
    const waiting: AbortedRun[] = [];
    const asked: AbortedRun[] = [];
    const taken: AbortedRun[] = [];
    for (const { other, how, reason } of attempted) {
      const name = runNameOf(other);
      const run = rows.get(name);
      if (run === undefined || isTerminal(run.phase)) {
        // Its row was forgotten: by retention, or by a program of before these rows.
        ended.add(name);
        pending.delete(name);
      } else if (run.phase !== 'RUNNING') waiting.push({ run, reason });
      else if (how === 'END') taken.push({ run, reason });
      else if (run.abort_request_micros === null) asked.push({ run, reason });
      else pending.delete(name);
    }
    const stopped = [
      ...(await abortWaitingRuns(trx, waiting)),
      ...(await requestAborts(trx, asked)),
      ...(await takeAway(trx, taken)),
    ];
    for (const row of stopped) {
      changed.push(row);
      pending.delete(runNameOf(row));
      if (isTerminal(row.phase)) ended.add(runNameOf(row));
    }
  }
  await deleteKeyedRuns(
    trx,
    stops.map(({ other }) => other).filter((other) => ended.has(runNameOf(other))),
  );
  return { changed, ended };
}

/** Ends running runs without their workers, whose leases are lost by it. */
async function takeAway(trx: RunDb, aborts: readonly AbortedRun[]): Promise<RunRow[]> {
  const held = aborts.flatMap(({ run, reason }) =>
    run.lease_token === null ? [] : [{ ...run, token: run.lease_token, reason }],
  );
  if (held.length === 0) return [];
  const locked = new Set((await lockLeases(trx, held)).map(({ token }) => token));
  const outcomes = held
    .filter(({ token }) => locked.has(token))
    .map(({ project, domain, run_id, day, token, reason }) => ({
      project,
      domain,
      run_id,
      day,
      token,
      phase: 'ABORTED' as const,
      delay_ms: 0,
      error_code: ABORTED_CODE,
      error_message: reason,
      output: null,
      answered: false,
    }));
  return outcomes.length === 0 ? [] : await endAttempts(trx, outcomes);
}
