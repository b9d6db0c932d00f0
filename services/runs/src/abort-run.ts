import { notFound, unavailable } from '@carillon/core/domain-error.ts';
import { parseRunName, RUN_RESOURCE } from '@carillon/core/resource-name.ts';
import { isTerminal } from '@carillon/core/run-state.ts';
import { transaction } from '@carillon/db';
import { lockConcurrencyKeys } from '@carillon/db/tables/concurrency-keys.ts';
import { releaseKeys } from '@carillon/db/tables/keyed-runs.ts';
import { type AbortedRun, abortWaitingRuns, requestAborts } from '@carillon/db/tables/run-aborts.ts';
import { type RunDb, type RunRow, selectRuns, selectRunsByName } from '@carillon/db/tables/runs.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** A run that moves on between being read and being aborted is read again, this often. */
const MAX_TRIES = 10;

/** Asks for a run to be stopped. */
export function abortRun({ db, hints, metrics }: MethodContext): RunMethod<'abortRun'> {
  return async ({ name, reason }) => {
    const { project, domain, runId } = parseRunName(name);
    // The newest one of that name; later tries know its day.
    let [run] = await selectRunsByName(db, [{ project, domain, run_id: runId }]);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (run === undefined) throw notFound(RUN_RESOURCE, name);
      if (isTerminal(run.phase) || run.abort_request_micros !== null) return { run: runMessage(run) };
      const seen: RunRow = run;
      const { aborted, started } = await transaction(db, {}, (trx) => abort(trx, { run: seen, reason }));
      if (aborted !== undefined) {
        const moved = aborted.phase === seen.phase ? started : [aborted, ...started];
        metrics.changed(moved);
        hints.changed([aborted, ...started]);
        return { run: runMessage(aborted) };
      }
      [run] = await selectRuns(db, [seen]);
    }
    throw unavailable('RUN_CONTENDED', 'the run keeps changing; ask again');
  };
}

/** `aborted` is undefined when the run has moved on. `started`: what its concurrency key lets start by it. */
async function abort(
  trx: RunDb,
  abortion: AbortedRun,
): Promise<{ readonly aborted: RunRow | undefined; readonly started: readonly RunRow[] }> {
  const { project, domain, concurrency_key: key, phase } = abortion.run;
  if (phase === 'RUNNING') {
    const [aborted] = await requestAborts(trx, [abortion]);
    return { aborted, started: [] };
  }
  if (key !== null) await lockConcurrencyKeys(trx, [{ project, domain, key }]);
  const [aborted] = await abortWaitingRuns(trx, [abortion]);
  return { aborted, started: aborted === undefined ? [] : await releaseKeys(trx, [aborted]) };
}
