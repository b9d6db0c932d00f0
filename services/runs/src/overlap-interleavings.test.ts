import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { ConcurrencySchema, OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lapse, phasesOf, reap, type SharedKey, sharedKey } from './overlap-under-test.ts';
import { brokenInvariants, nameOf, refOf, type ServiceUnderTest, startRuns } from './service-under-test.ts';

const database = useDatabase();
const replicas: ServiceUnderTest[] = [];

/** Beyond this limit a key never goes. It is the same in all requests of a key, whatever their policies. */
const LIMIT = 2;

beforeAll(async () => {
  for (const instance of ['test-1', 'test-2'])
    replicas.push(await startRuns(database, { leaseTtlMs: 600_000, instance }));
  // Looks at the end of each transaction, while that has its locks still: no state is missed. Runs are read, not the rows beside their keys.
  await database.pool.query(`
    create table wrong_states (run_id text, phase text, going bigint, waiting bigint);
    create index on runs (concurrency_key);
    create function judge_key() returns trigger language plpgsql as $$
    declare going bigint; waiting bigint;
    begin
      select count(*) filter (where phase in ('QUEUED', 'RUNNING')), count(*) filter (where phase = 'BUFFERED')
      into going, waiting from runs where concurrency_key = new.concurrency_key;
      if going > ${LIMIT} or (waiting > 0 and going < ${LIMIT}) then
        insert into wrong_states values (new.run_id, new.phase, going, waiting);
      end if;
      return null;
    end $$;
    create constraint trigger judge_key after insert or update on runs deferrable initially deferred
    for each row when (new.concurrency_key is not null) execute function judge_key();
  `);
});
afterAll(async () => {
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
});

/** One thing that happens. `by`: which replica; `pick`: which of the runs, or leases, there are. */
type Step =
  | { readonly does: 'CREATE'; readonly by: number; readonly policy: OverlapPolicy; readonly age: number }
  | { readonly does: 'BATCH'; readonly by: number; readonly policies: readonly OverlapPolicy[] }
  | {
      readonly does: 'REPEAT' | 'ABORT' | 'COMPLETE' | 'FAIL' | 'VANISH';
      readonly by: number;
      readonly pick: number;
    }
  | { readonly does: 'LEASE'; readonly by: number };

const policy = fc.constantFrom(
  OverlapPolicy.ALLOW,
  OverlapPolicy.SKIP,
  OverlapPolicy.BUFFER_ONE,
  OverlapPolicy.BUFFER_ALL,
  OverlapPolicy.CANCEL_OTHER,
  OverlapPolicy.TERMINATE_OTHER,
);
const by = fc.nat(1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('CREATE' as const), by, policy, age: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('BATCH' as const),
      by,
      policies: fc.array(policy, { minLength: 2, maxLength: 5 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constantFrom('REPEAT', 'ABORT', 'COMPLETE', 'COMPLETE', 'FAIL', 'VANISH'),
      by,
      pick: fc.nat(1_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('LEASE' as const), by }) },
);

/** Whoever calls at once with others is told one of these, and nothing else. */
const EXPECTED: ReadonlySet<Code> = new Set([Code.AlreadyExists, Code.NotFound, Code.FailedPrecondition]);

class Play {
  readonly requests: CreateRunRequest[] = [];
  readonly #shared: SharedKey;
  readonly #leases: { run: string; leaseToken: string }[] = [];

  constructor(shared: SharedKey) {
    this.#shared = shared;
  }

  async take(step: Step): Promise<void> {
    try {
      await this.#take(step);
    } catch (error) {
      if (!(error instanceof ConnectError) || !EXPECTED.has(error.code)) throw error;
    }
  }

  async #take(step: Step): Promise<void> {
    const service = replicas[step.by];
    if (service === undefined) throw new RangeError('there is no such replica');
    switch (step.does) {
      case 'CREATE':
        await service.runs.createRun(this.#request(step.policy, step.age));
        return;
      case 'BATCH':
        await service.runs.batchCreateRuns({ requests: step.policies.map((each) => this.#request(each, 0)) });
        return;
      case 'LEASE': {
        const { leases } = await service.workers.leaseRuns({
          worker: 'w',
          queues: [this.#shared.queue],
          maxRuns: 2,
        });
        this.#leases.push(...leases.map(refOf));
        return;
      }
      case 'REPEAT':
      case 'ABORT': {
        const request = this.requests[step.pick % Math.max(1, this.requests.length)];
        if (request === undefined) return;
        if (step.does === 'REPEAT') await service.runs.createRun(request);
        else await service.runs.abortRun({ name: nameOf(request) });
        return;
      }
      default: {
        const lease = this.#leases[step.pick % Math.max(1, this.#leases.length)];
        if (lease === undefined) return;
        if (step.does === 'COMPLETE') await service.workers.completeRun({ lease });
        else if (step.does === 'FAIL') await service.workers.failRun({ lease, error: { code: 'BROKEN' } });
        else {
          await lapse(database.pool, lease.run, 'expire_time');
          await reap(database.pool, true);
        }
      }
    }
  }

  #request(policy: OverlapPolicy, age: number): CreateRunRequest {
    const next = this.#shared.next(
      { concurrency: create(ConcurrencySchema, { key: this.#shared.key, policy, limit: LIMIT }) },
      2,
    );
    // Some are of an earlier nominal time than those that are there.
    const earlier = this.requests.at(-age - 1)?.nominalTime ?? next.nominalTime;
    const request = age === 0 || earlier === undefined ? next : { ...next, nominalTime: earlier };
    this.requests.push(request);
    return request;
  }
}

test('whatever happens at once, no more go than the limit, and none waits beside a free place', {
  timeout: 240_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { maxLength: 12 }),
      async (volleys) => {
        const shared = sharedKey(OverlapPolicy.ALLOW, LIMIT);
        const play = new Play(shared);
        // The steps of a volley happen at once.
        for (const volley of volleys) await Promise.all(volley.map((each) => play.take(each)));
        expect(await brokenInvariants(database.pool)).toEqual([]);
        expect((await database.pool.query('delete from wrong_states returning *')).rows).toEqual([]);
        await finish(shared, play.requests);
      },
    ),
    // What happened at once does not happen so again: there is nothing to shrink.
    { numRuns: 40, endOnFailure: true },
  );
  const { rows } = await database.pool.query<{ deadlocks: bigint }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  );
  expect(rows).toEqual([{ deadlocks: 0n }]);
});

/** Workers take what there is until nothing is left. If something waits although nothing goes, they wait in vain. */
async function finish({ queue }: SharedKey, requests: readonly CreateRunRequest[]): Promise<void> {
  const [service] = replicas;
  if (service === undefined) throw new RangeError('there is no replica');
  await database.pool.query(`update run_leases set expire_time = clock_timestamp() - interval '1 second'`);
  await reap(database.pool, true);
  for (;;) {
    const phases = await phasesOf(database.pool, requests);
    const left = phases.filter((phase) => phase === 'BUFFERED' || phase === 'QUEUED' || phase === 'RUNNING');
    if (left.length === 0) return;
    const { leases } = await service.workers.leaseRuns({
      worker: 'w',
      queues: [queue],
      maxRuns: 5,
      wait: durationFromMs(5_000),
    });
    if (leases.length === 0) throw new Error(`nothing is ready, and these are left: ${left.join(', ')}`);
    for (const lease of leases) await service.workers.completeRun({ lease: refOf(lease) });
  }
}
