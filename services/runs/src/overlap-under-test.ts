import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { createDatabase } from '@carillon/db';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import {
  ConcurrencySchema,
  type OverlapPolicy,
  type RunOutcome,
  RunOutcomeSchema,
  RunSpecSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createLogger, systemClock, systemEntropy } from '@carillon/server';
import type pg from 'pg';
import { Registry } from 'prom-client';
import { Reaper } from './reaper.ts';
import { RunHints } from './run-hints.ts';
import { RunMetrics } from './run-metrics.ts';
import { adHoc, nameOf, stored } from './service-under-test.ts';

const firstNominalMs = Math.floor(systemClock.now() / 1000) * 1000 - 3_600_000;
let keys = 0;

/** A concurrency key of its own, and a queue of that name. */
export interface SharedKey {
  readonly key: string;
  readonly queue: string;
  /** A request for a run of it, a second of nominal time after the one before, with changes. */
  next(changes?: Partial<CreateRunRequest>, maxAttempts?: number): CreateRunRequest;
}

/** Requests whose runs share a key. */
export function sharedKey(policy: OverlapPolicy, limit = 0): SharedKey {
  const key = `key-${++keys}`;
  const concurrency = create(ConcurrencySchema, { key, limit, policy });
  const backoff = { initialBackoff: durationFromMs(1), maxBackoff: durationFromMs(1) };
  let runs = 0;
  return {
    key,
    queue: key,
    next: (changes = {}, maxAttempts = 1) => ({
      ...adHoc({
        spec: create(RunSpecSchema, { task: 't', queue: key, retry: { maxAttempts, ...backoff } }),
        nominalTime: timestampFromMs(firstNominalMs + ++runs * 1_000),
      }),
      concurrency,
      ...changes,
    }),
  };
}

/** An outcome's name, as in `STARTED`. */
export function outcomeName(outcome: RunOutcome): string | undefined {
  return RunOutcomeSchema.value[outcome]?.localName;
}

/** The phases of the runs of requests. */
export async function phasesOf(
  pool: pg.Pool,
  requests: readonly CreateRunRequest[],
): Promise<(string | undefined)[]> {
  const phases = [];
  for (const request of requests) phases.push((await stored(pool, nameOf(request)))?.phase);
  return phases;
}

/** So many of something. */
export function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

/** What those parts tell that nobody listens to. */
export function unheard() {
  return {
    hints: new RunHints({ notify: () => undefined }),
    metrics: new RunMetrics(new Registry()),
    logger: createLogger({ service: 'runs', instance: 'test', level: 'silent' }),
  };
}

/** One pass of a reaper. With `expired` it has been able to hear workers for a lease time, and takes back what ran out. Answers with how many attempts it ended. */
export function reap(pool: pg.Pool, expired: boolean): Promise<number> {
  const clock = new ManualClock();
  const leaseTtlMs = 1_000;
  const db = createDatabase<RunTables>(pool);
  const reaper = new Reaper({ db, clock, entropy: systemEntropy, leaseTtlMs, ...unheard() });
  if (expired) clock.advance(2 * leaseTtlMs);
  return reaper.reap();
}

/** Lets the lease of a run run out, or its attempt exceed its time. */
export async function lapse(
  pool: pg.Pool,
  name: string,
  column: 'expire_time' | 'attempt_deadline',
): Promise<void> {
  await pool.query(
    `update run_leases set ${column} = clock_timestamp() - interval '1 second' where run_id = $1`,
    [name.split('/').at(-1)],
  );
}
