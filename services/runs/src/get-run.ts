import { notFound } from '@carillon/core/domain-error.ts';
import { parseRunName, RUN_RESOURCE } from '@carillon/core/resource-name.ts';
import { selectFullRun } from '@carillon/db/tables/runs.ts';
import { nominalDay } from './nominal-day.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** Reads a run, with inputs and output. */
export function getRun({ db }: MethodContext): RunMethod<'getRun'> {
  return async ({ name, nominalTime }) => {
    const { project, domain, runId } = parseRunName(name);
    const day = nominalTime === undefined ? undefined : nominalDay(nominalTime, 'nominal_time');
    const row = await selectFullRun(db, { project, domain, run_id: runId }, day);
    if (row === undefined) throw notFound(RUN_RESOURCE, name);
    return { run: runMessage(row) };
  };
}
