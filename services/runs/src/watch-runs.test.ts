import { create } from '@bufbuild/protobuf';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { type Run, RunPhase, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { WatchRunsResponse } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { systemEntropy } from '@carillon/server';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRunOf } from './new-run.ts';
import { createdRow } from './run-message.ts';
import { RunWatch } from './run-watch.ts';
import {
  adHoc,
  nameOf,
  PARENT,
  reasonOf,
  refOf,
  refusal,
  type ServiceUnderTest,
  slot,
  startRuns,
} from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
let second: ServiceUnderTest;

beforeAll(async () => {
  service = await startRuns(database);
  second = await startRuns(database, { instance: 'test-2' });
});
afterAll(async () => {
  await Promise.all([service[Symbol.asyncDispose](), second[Symbol.asyncDispose]()]);
});

type WatchRequest = Parameters<ServiceUnderTest['runs']['watchRuns']>[0];

/** An open watch; `await using` ends it. */
class Watching implements AsyncDisposable {
  readonly #end = new AbortController();
  readonly #stream: AsyncIterator<WatchRunsResponse>;

  constructor(request: WatchRequest, from = service) {
    this.#stream = from.runs.watchRuns(request, { signal: this.#end.signal })[Symbol.asyncIterator]();
  }

  /** The next run that changes. */
  async next(): Promise<Run> {
    for (;;) {
      const { value, done } = await this.#stream.next();
      if (done) throw new Error('the watch has ended');
      if (value.run !== undefined) return value.run;
    }
  }

  /** The first state of a run that is in a phase. */
  async until(name: string, phase: RunPhase): Promise<Run> {
    for (;;) {
      const run = await this.next();
      if (run.name === name && run.phase === phase) return run;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#stream.next().catch(() => undefined);
  }
}

/** A watch that is known to be open: it has told of a run that was made for it. */
async function watching(request: WatchRequest, from = service): Promise<Watching> {
  const marker = adHoc();
  await service.runs.createRun(marker);
  const watch = new Watching({ ...request, names: [...(request.names ?? []), nameOf(marker)] }, from);
  await watch.until(nameOf(marker), RunPhase.QUEUED);
  return watch;
}

/** The same for a watch of everything: runs are made until one is told of. */
async function watchingAll(request: WatchRequest, from = service): Promise<Watching> {
  const watch = new Watching(request, from);
  let told = false;
  const first = watch.next().finally(() => {
    told = true;
  });
  while (!told) {
    await service.runs.createRun(slot({ schedule: request.schedule || `${PARENT}/schedules/s` }));
    await Promise.race([first, database.pool.query('select pg_sleep(0.1)')]);
  }
  return watch;
}

describe('WatchRuns', () => {
  test('tells of every phase of a run, at every replica', async () => {
    await using here = await watchingAll({ parent: 'projects/-/domains/-' });
    await using there = await watchingAll({ parent: PARENT }, second);
    const request = adHoc({ spec: create(RunSpecSchema, { task: 't', queue: 'watched' }) });
    const name = nameOf(request);
    await service.runs.createRun(request);
    for (const watch of [here, there]) expect((await watch.until(name, RunPhase.QUEUED)).version).toBe(1n);
    const { leases } = await second.workers.leaseRuns({ worker: 'w', queues: ['watched'] });
    for (const watch of [here, there]) expect((await watch.until(name, RunPhase.RUNNING)).worker).toBe('w');
    await service.workers.completeRun({
      lease: refOf(leases[0]),
      output: { content: { case: 'values', value: {} } },
    });
    for (const watch of [here, there]) {
      const done = await watch.until(name, RunPhase.SUCCEEDED);
      expect([done.version, done.output]).toEqual([3n, undefined]);
    }
  });

  test('of named runs tells their present state first, and then changes of theirs only', async () => {
    const [mine, other] = [adHoc(), adHoc()];
    await service.runs.batchCreateRuns({ requests: [mine, other] });
    await using watch = new Watching({ parent: PARENT, names: [nameOf(mine), `${PARENT}/runs/not-yet`] });
    expect(await watch.next()).toMatchObject({ name: nameOf(mine), phase: RunPhase.QUEUED });
    await service.runs.abortRun({ name: nameOf(other) });
    await service.runs.abortRun({ name: nameOf(mine) });
    expect(await watch.next()).toMatchObject({ name: nameOf(mine), phase: RunPhase.ABORTED });
    await service.runs.createRun(adHoc({ runId: 'not-yet' }));
    expect(await watch.next()).toMatchObject({ name: `${PARENT}/runs/not-yet` });
  });

  test('of a schedule tells of its runs only', async () => {
    const schedule = `${PARENT}/schedules/watched`;
    await using watch = await watchingAll({ parent: 'projects/-/domains/-', schedule });
    await service.runs.createRun(slot());
    const request = slot({ schedule });
    await service.runs.createRun(request);
    const seen: string[] = [];
    for (;;) {
      const run = await watch.next();
      expect(run.schedule).toBe(schedule);
      seen.push(run.name);
      if (run.name === nameOf(request)) break;
    }
  });

  test('does not lose a change that is committed late, after others that began later', async () => {
    const [late, early] = [adHoc(), adHoc()];
    await service.runs.batchCreateRuns({ requests: [late, early] });
    await using watch = await watching({ parent: PARENT, names: [nameOf(late), nameOf(early)] });
    const writer = await database.pool.connect();
    try {
      await writer.query('begin');
      await writer.query(
        `update runs set abort_reason = 'late', version = version + 1, xid = pg_current_xact_id() where run_id = $1`,
        [late.runId],
      );
      await service.runs.abortRun({ name: nameOf(early) });
      // The feed has read beyond the open transaction by then.
      await watch.until(nameOf(early), RunPhase.ABORTED);
      await writer.query('commit');
    } finally {
      writer.release();
    }
    for (;;) {
      const run = await watch.next();
      if (run.name === nameOf(late) && run.version === 2n) break;
    }
  });

  test('ends with UNAVAILABLE when its database is interrupted, and can be begun again', async () => {
    await using watch = await watching({ parent: PARENT });
    await database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name like 'carillon-runs%' and datname = current_database()`,
    );
    const error = await refusal(watch.next());
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, 'FEED_INTERRUPTED']);
    const works = () =>
      service.runs.createRun(adHoc()).then(
        () => true,
        () => false,
      );
    await expect.poll(works).toBe(true);
    await using again = await watching({ parent: PARENT });
    expect(again).toBeDefined();
  });

  test('ends with UNAVAILABLE when the service shuts down', async () => {
    const closing = await startRuns(database, { instance: 'test-3' });
    const watch = await watching({ parent: PARENT }, closing);
    const [error] = await Promise.all([refusal(watch.next()), closing.app.close()]);
    expect(error.code).toBe(Code.Unavailable);
  });

  test.each([
    [{ parent: PARENT, schedule: 'projects/p/domains/other/schedules/s' }, 'schedule'],
    [{ parent: PARENT, schedule: 'nonsense' }, 'schedule'],
    [{ parent: PARENT, names: ['projects/other/domains/d/runs/x'] }, 'names[0]'],
  ])('refuses what is not within its parent: %o', async (request, field) => {
    const error = await refusal(new Watching(request).next());
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain(field);
  });

  test('counts who watches, and reads nothing for nobody', async () => {
    const watchers = async () =>
      /carillon_runs_watchers (\d+)/.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1];
    await expect.poll(watchers).toBe('0');
    {
      await using watch = await watching({ parent: PARENT });
      expect(watch).toBeDefined();
      expect(await watchers()).toBe('1');
    }
    await expect.poll(watchers).toBe('0');
  });
});

describe('RunWatch', () => {
  const everything = { project: undefined, domain: undefined, scheduleId: undefined, names: undefined };
  const row = (version: bigint, runId = 'r') => ({
    ...createdRow(newRunOf(adHoc({ runId: `run-${runId}` }), { nowMicros: 0, entropy: systemEntropy }), 0),
    version,
  });

  test('merges states that nobody has taken, and never goes back', async () => {
    const watch = new RunWatch(everything, new ManualClock());
    watch.changed([row(2n), row(1n)]);
    watch.changed([row(4n), row(3n)]);
    expect((await watch.next(1_000)).map(({ version }) => version)).toEqual([4n]);
  });

  test('does not tell twice what was asked for by name', async () => {
    const clock = new ManualClock();
    const watch = new RunWatch({ ...everything, names: new Set([`${PARENT}/runs/run-r`]) }, clock);
    watch.changed([row(2n)]);
    expect(await watch.next(1_000)).toHaveLength(1);
    watch.changed([row(2n), row(1n)]);
    const silence = watch.next(1_000);
    clock.advance(1_000);
    expect(await silence).toEqual([]);
  });

  test('gives up on a watcher that is too slow, in bounded memory', async () => {
    const watch = new RunWatch(everything, new ManualClock());
    watch.changed(Array.from({ length: 5_000 }, (_, index) => row(1n, String(index))));
    await expect(watch.next(1_000)).rejects.toThrow(/too far behind/);
  });
});
