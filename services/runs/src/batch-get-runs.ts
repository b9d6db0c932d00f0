import { type FieldViolation, invalidArgument, unavailable } from '@carillon/core/domain-error.ts';
import { parseRunName } from '@carillon/core/resource-name.ts';
import { SqlState, sqlState } from '@carillon/db';
import { addDays, databaseDay } from '@carillon/db/partitions.ts';
import {
  probeRuns,
  type RunDb,
  type RunKey,
  type RunRow,
  selectRuns,
  selectRunsByName,
} from '@carillon/db/tables/runs.ts';
import type { GetRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { sql } from 'kysely';
import { nominalDay } from './nominal-day.ts';
import { runMessage, runNameOf } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** How long a probe waits for transactions that are creating one of its runs. */
const PROBE_WAIT_MS = 5_000;

/** Reads up to 500 runs; with `probe`, "not found" is certain. */
export function batchGetRuns({ db, retentionDays }: MethodContext): RunMethod<'batchGetRuns'> {
  return async ({ requests, probe }) => {
    const wanted = requests.map((request, index) => wantedOf(request, index, probe));
    const missing = wanted.flatMap(({ violation }) => violation ?? []);
    if (missing.length > 0) throw invalidArgument(...missing);

    const keys = wanted.flatMap(({ key }) => key ?? []);
    const horizon = probe ? addDays(await databaseDay(db), -retentionDays) : undefined;
    const found = new Map<string, RunRow>();
    const add = (rows: readonly RunRow[]): void => {
      for (const row of rows) found.set(placeOf(row), row);
    };
    add(await selectRuns(db, keys));
    const nameless = wanted.filter(({ key }) => key === undefined);
    const byName = new Map<string, RunRow>();
    for (const row of await selectRunsByName(
      db,
      nameless.map(({ name }) => name),
    )) {
      // The newest day comes first.
      if (!byName.has(runNameOf(row))) byName.set(runNameOf(row), row);
    }
    if (probe) {
      const missing = keys.filter((key) => !found.has(placeOf(key)));
      add(await certainly(db, missing));
    }

    return {
      results: wanted.map(({ name, key }) => {
        const row = key === undefined ? byName.get(runNameOf(name)) : found.get(placeOf(key));
        if (row !== undefined) return { name: runNameOf(name), run: runMessage(row) };
        const beyondRetention = key !== undefined && horizon !== undefined && key.day < horizon;
        return { name: runNameOf(name), beyondRetention };
      }),
    };
  };
}

interface Wanted {
  readonly name: Omit<RunKey, 'day'>;
  /** Known when the nominal time is. */
  readonly key?: RunKey;
  readonly violation?: FieldViolation;
}

function wantedOf({ name: text, nominalTime }: GetRunRequest, index: number, probe: boolean): Wanted {
  const field = `requests[${index}]`;
  const { project, domain, runId } = parseRunName(text, `${field}.name`);
  const name = { project, domain, run_id: runId };
  if (nominalTime !== undefined)
    return { name, key: { ...name, day: nominalDay(nominalTime, `${field}.nominal_time`) } };
  if (!probe) return { name };
  const violation = {
    field: `${field}.nominal_time`,
    description: 'is required for a probe',
    reason: 'REQUIRED',
  };
  return { name, violation };
}

/**
 * Those of `keys`, which were not found, that exist after all, once every transaction that was creating one of them has ended. Days beyond the
 * retention are no exception: what passed the check of that may still be under way.
 *
 * @throws {DomainError} UNAVAILABLE when one of them takes too long: nothing is certain then.
 */
async function certainly(db: RunDb, keys: readonly RunKey[]): Promise<RunRow[]> {
  if (keys.length === 0) return [];
  const absent = new Set((await probeAndRollBack(db, sortedByPlace(keys))).map(placeOf));
  const present = keys.filter((key) => !absent.has(placeOf(key)));
  const rows = await selectRuns(db, present);
  if (rows.length < new Set(present.map(placeOf)).size) {
    throw unavailable('NAME_CONTENDED', 'a run was deleted while it was looked for; ask again');
  }
  return rows;
}

async function probeAndRollBack(db: RunDb, keys: readonly RunKey[]): Promise<RunKey[]> {
  const trx = await db.startTransaction().execute();
  try {
    await sql`set local lock_timeout = ${sql.lit(PROBE_WAIT_MS)}`.execute(trx);
    return await probeRuns(trx, keys);
  } catch (error) {
    if (sqlState(error) !== SqlState.lockNotAvailable) throw error;
    throw unavailable(
      'PROBE_BLOCKED',
      'a transaction that creates one of the runs takes too long; ask again',
      undefined,
      error,
    );
  } finally {
    await trx.rollback().execute();
  }
}

/** Each key once, in the order in which everybody inserts. */
function sortedByPlace(keys: readonly RunKey[]): RunKey[] {
  const places = new Map(keys.map((key) => [placeOf(key), key]));
  return [...places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, key]) => key);
}

function placeOf(key: RunKey): string {
  return `${runNameOf(key)}@${key.day}`;
}
