import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { sleep } from '@carillon/core/clock.ts';
import { runName } from '@carillon/core/run-name.ts';
import { createDatabase } from '@carillon/db';
import { probeRuns, type RunTables } from '@carillon/db/tables/runs.ts';
import { RunKind, type RunPhase, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  type CreateRunRequest,
  CreateRunRequestSchema,
  ExistingRunSchema,
  RunService,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Lease, WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { createLogger, Secret, systemClock, systemEntropy } from '@carillon/server';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type pg from 'pg';
import { type App, createApp, type RunsOverrides } from './app.ts';
import type { RunsConfig } from './config.ts';
import { newRunOf } from './new-run.ts';

/** A runs service on a test's database, and callers of it. */
export interface ServiceUnderTest extends AsyncDisposable {
  readonly app: App;
  readonly url: string;
  readonly runs: Client<typeof RunService>;
  readonly workers: Client<typeof WorkerService>;
}

/** Where the tests' runs live. */
export const PARENT = 'projects/p/domains/d';

/** The configuration of a service on a database. */
export function configOf(databaseUrl: string, changes: Partial<RunsConfig> = {}): RunsConfig {
  return {
    databaseUrl: new Secret(databaseUrl),
    host: '127.0.0.1',
    port: 0,
    logLevel: 'info',
    databaseConnections: 10,
    migrate: '0',
    retentionDays: 90,
    leaseTtlMs: 30_000,
    instance: 'test-1',
    ...changes,
  };
}

/** Starts a service; `await using` closes it. */
export async function startRuns(
  database: { readonly url: string },
  changes: Partial<RunsConfig> = {},
  overrides: RunsOverrides = {},
): Promise<ServiceUnderTest> {
  const app = await createApp(configOf(database.url, changes), {
    logger: createLogger({ service: 'runs', instance: 'test-1', level: 'fatal' }),
    ...overrides,
  });
  await app.ready;
  const transport = createConnectTransport({ baseUrl: app.url, httpVersion: '1.1' });
  return {
    app,
    url: app.url,
    runs: createClient(RunService, transport),
    workers: createClient(WorkerService, transport),
    [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()),
  };
}

let requests = 0;

/** A request for an ad-hoc run of task `t` under a name of its own, with changes. */
export function adHoc(changes: MessageInitShape<typeof CreateRunRequestSchema> = {}): CreateRunRequest {
  return create(CreateRunRequestSchema, {
    parent: PARENT,
    runId: `run-${++requests}`,
    spec: create(RunSpecSchema, { task: 't' }),
    ...changes,
  });
}

/** Now, down to the second, as a Timestamp; or so many days earlier. */
export function wholeSecond(daysAgo = 0) {
  return timestampFromMs(Math.floor(systemClock.now() / 1000 - daysAgo * 86_400) * 1000);
}

/** A request for the run of a slot, with changes; each call of another schedule. */
export function slot(changes: MessageInitShape<typeof CreateRunRequestSchema> = {}): CreateRunRequest {
  const schedule = `s-${++requests}`;
  const nominalTime = wholeSecond();
  return create(CreateRunRequestSchema, {
    parent: PARENT,
    runId: runName({
      project: 'p',
      domain: 'd',
      schedule,
      nominalSec: Number(nominalTime.seconds),
      kind: 'slot',
      id: '',
    }),
    spec: create(RunSpecSchema, { task: 't' }),
    kind: RunKind.SLOT,
    schedule: `${PARENT}/schedules/${schedule}`,
    scheduleUid: `uid-${schedule}`,
    scheduleRevision: 1,
    nominalTime,
    fireTime: nominalTime,
    ...changes,
  });
}

/** The resource name of the run that a request asks for. */
export function nameOf({ parent, runId }: CreateRunRequest): string {
  return `${parent}/runs/${runId}`;
}

/** The lease as later calls name it. */
export function refOf(lease: Lease | undefined) {
  if (lease?.run === undefined) throw new Error('there is no lease');
  return { run: lease.run.name, leaseToken: lease.leaseToken };
}

/** The error that a call is refused with. An Error if it is not refused, or not in this way. */
export async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  const outcome = await call.then(
    () => new Error('the call was not refused'),
    (error: unknown) => error,
  );
  if (outcome instanceof ConnectError && outcome.code !== Code.Unknown) return outcome;
  throw outcome;
}

/** The reason in an error's details. */
export function reasonOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorInfoSchema)[0]?.reason;
}

/** What an ALREADY_EXISTS says of the run that exists. */
export function existingOf(error: ConnectError) {
  return error.findDetails(ExistingRunSchema)[0];
}

/** The row of a run in the database, and how many rows it has in the queue and among the leases. */
export async function stored(
  pool: pg.Pool,
  name: string,
): Promise<{ phase: keyof typeof RunPhase; attempt: number; ready: number; leases: number } | undefined> {
  const [, project, , domain, , runId] = name.split('/');
  const { rows } = await pool.query(
    `select phase, attempt,
       (select count(*)::int from ready_runs q where (q.project, q.domain, q.run_id) = (r.project, r.domain, r.run_id)) as ready,
       (select count(*)::int from run_leases l where (l.project, l.domain, l.run_id) = (r.project, r.domain, r.run_id)) as leases
     from runs r where project = $1 and domain = $2 and run_id = $3`,
    [project, domain, runId],
  );
  if (rows.length > 1) throw new Error(`${name} exists ${rows.length} times`);
  return rows[0];
}

/**
 * What is wrong with the tables. Each queued run has one row in the queue, each running one lease, any other has neither. Each run that
 * has a concurrency key and has not ended has one row beside its key, which says whether it is going, and none is buffered
 * while none of its key is going.
 */
export async function brokenInvariants(pool: pg.Pool): Promise<string[]> {
  return [...(await brokenPlaces(pool)), ...(await brokenKeys(pool))];
}

async function brokenKeys(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ problem: string }>(`
    with living as (
      select *, phase <> 'BUFFERED' as goes from runs
      where concurrency_key is not null and phase in ('BUFFERED', 'QUEUED', 'RUNNING')
    )
    select coalesce(run_id, '?') || ' is ' || coalesce(phase, 'over') || ' and beside its key '
      || case k.going when true then 'going' when false then 'buffered' else 'missing' end as problem
    from living full join keyed_runs k using (project, domain, run_id, day)
    where goes is distinct from k.going or concurrency_key is distinct from k.key
    union all
    select concurrency_key || ' holds ' || count(*) || ' back although none is going'
    from living group by project, domain, concurrency_key having not bool_or(goes)
    union all
    select run_id || ' is leased with the key ' || coalesce(l.concurrency_key, 'none')
    from run_leases l join runs r using (project, domain, run_id, day)
    where r.concurrency_key is distinct from l.concurrency_key
  `);
  return rows.map(({ problem }) => problem);
}

async function brokenPlaces(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ problem: string }>(`
    with entries as (
      select project, domain, run_id, day, count(*) filter (where kind = 'ready') as ready, count(*) filter (where kind = 'lease') as leases
      from (
        select 'ready' as kind, project, domain, run_id, day from ready_runs
        union all
        select 'lease', project, domain, run_id, day from run_leases
      ) as all_entries
      group by project, domain, run_id, day
    )
    select coalesce(run_id, '?') || ' is ' || coalesce(phase, 'missing') || ' with ' || coalesce(ready, 0) || ' ready and '
      || coalesce(leases, 0) || ' leases' as problem
    from runs full join entries using (project, domain, run_id, day)
    where phase is null
      or coalesce(ready, 0) <> (phase = 'QUEUED')::int
      or coalesce(leases, 0) <> (phase = 'RUNNING')::int
  `);
  return rows.map(({ problem }) => problem);
}

/** A transaction that is creating the run of a request, and has not been committed. */
export async function holdName(pool: pg.Pool, request: CreateRunRequest) {
  const run = newRunOf(request, { nowMicros: systemClock.now() * 1000, entropy: systemEntropy });
  const trx = await createDatabase<RunTables>(pool).startTransaction().execute();
  await probeRuns(trx, [run]);
  let ended = false;
  return {
    /** Ends it; the first time counts. */
    async end(how: 'commit' | 'rollback'): Promise<void> {
      if (ended) return;
      ended = true;
      await trx[how]().execute();
    },
  };
}

/** Resolves when a statement of the service waits for another transaction. */
export async function someoneWaits(pool: pg.Pool): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      `select from pg_stat_activity
       where application_name like 'carillon-runs%' and datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
    );
    if (rowCount !== 0) return;
    await sleep(systemClock, 10);
  }
}
