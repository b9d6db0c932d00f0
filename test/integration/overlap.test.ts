import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { SlotOutcome } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createApp as createRuns, readRunsConfig } from '@carillon/runs';
import { createRunsTarget } from '@carillon/scheduler/runs-target.ts';
import { createLogger } from '@carillon/server';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { ServiceProcess } from '../support/service-process.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { sleep, until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/overlap/domains/test';
const KILLS = 6;

/** The runs service in this process; `await using` closes it. */
async function startRuns() {
  const config = readRunsConfig({ DATABASE_URL: database.url, CARILLON_PORT: '0' }, 'runs-under-test');
  const logger = createLogger({ service: 'runs', instance: 'test', level: 'error' });
  const app = await createRuns(config, { logger });
  await app.ready;
  return { ...app, [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()) };
}

async function stretches(project: string) {
  const { rows } = await database.pool.query<{ outcome: string; from: number; to: number; nominal: number }>(
    `select outcome, extract(epoch from create_time)::float8 as "from", extract(epoch from end_time)::float8 as "to",
      extract(epoch from nominal_time)::int as nominal
    from runs where project = $1 order by nominal_time`,
    [project],
  );
  return rows;
}

test('a schedule of every second that skips, whose runs take two and a half', {
  timeout: 90_000,
}, async () => {
  const runSeconds = 2.5;
  await using runs = await startRuns();
  const transport = createConnectTransport({ baseUrl: runs.url, httpVersion: '1.1' });
  await using schedules = await startSchedules(database.url, { runsTransport: transport });
  await using scheduler = await startScheduler(database.url, createRunsTarget(transport));
  const { schedule } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'long',
    schedule: {
      spec: {
        pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
        overlap: { policy: OverlapPolicy.SKIP },
        run: { task: 'test.long', queue: 'long' },
      },
    },
  });
  const name = schedule?.name ?? '';

  const workers = createClient(WorkerService, transport);
  let fired = 0;
  while (fired < 3) {
    const { leases } = await workers.leaseRuns({
      worker: 'w',
      queues: ['long'],
      wait: durationFromMs(10_000),
    });
    const [lease] = leases;
    if (lease === undefined) throw new Error('nothing fires any more');
    await sleep(runSeconds * 1_000);
    await workers.completeRun({ lease: { run: lease.run?.name ?? '', leaseToken: lease.leaseToken } });
    fired++;
  }
  await schedules.client.deactivateSchedule({ name });
  // What had been looked at before is still sent.
  const slots = await until(async () => {
    const page = await schedules.client.listSlots({ name, orderBy: 'nominal_time', pageSize: 1_000 });
    return page.slots.every(({ outcome }) => outcome !== SlotOutcome.PENDING) && page.slots;
  });
  const found = await stretches('overlap');

  const started = found.filter(({ outcome }) => outcome === 'STARTED');
  const skipped = found.filter(({ outcome }) => outcome === 'SKIPPED');
  // Two slots of every three fall into a run, but for a machine that stalls.
  expect(skipped.length).toBeGreaterThanOrEqual(6);
  expect(started.length + skipped.length).toBe(found.length);
  for (const [index, { from }] of started.entries()) {
    const before = started[index - 1];
    if (before !== undefined) expect(from - before.from).toBeGreaterThan(runSeconds);
  }
  for (const { from } of skipped) {
    const during = started.filter((run) => run.from <= from && (run.to === null || from <= run.to));
    expect(during).toHaveLength(1);
  }
  // Every slot has one outcome, and the ledger names those that were skipped.
  const seconds = found.map(({ nominal }) => nominal);
  expect(seconds).toEqual(seconds.map((_, index) => (seconds[0] ?? 0) + index));
  const ledger = await until(async () => {
    const { rows } = await database.pool.query<{ nominal: number }>(
      `select outcome, reason, slots::int, extract(epoch from l.nominal_time)::int as nominal, run_id <> '' as named
       from slot_ledger l join schedules s on s.id = l.schedule where s.schedule_id = 'long' and l.reason = 'OVERLAP' order by nominal`,
    );
    return rows.length >= skipped.length && rows;
  });
  expect(ledger).toEqual(
    skipped.map(({ nominal }) => ({ outcome: 'SKIPPED', reason: 'OVERLAP', slots: 1, nominal, named: true })),
  );
  const told = new Map(slots.map((slot) => [Number(slot.nominalTime?.seconds), slot]));
  for (const { nominal, outcome } of found) {
    const expected =
      outcome === 'STARTED'
        ? { outcome: SlotOutcome.FIRED, reason: '' }
        : { outcome: SlotOutcome.SKIPPED, reason: 'OVERLAP' };
    expect(told.get(nominal)).toMatchObject(expected);
  }
  const metrics = await (await fetch(`${scheduler.url}/metrics`)).text();
  expect(metrics).toContain(
    `carillon_scheduler_slots_without_run_total{outcome="SKIPPED",reason="OVERLAP"} ${skipped.length}`,
  );
});

test('a runs service that is killed again and again leaves nothing waiting', {
  timeout: 120_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-overlap-'));
  const service = new ServiceProcess({
    name: 'runs',
    entry: 'services/runs/src/main.ts',
    environment: {
      DATABASE_URL: database.url,
      CARILLON_RUN_LEASE_TTL_MS: '1000',
      CARILLON_LOG_LEVEL: 'info',
    },
    logFolder: folder,
  });
  await service.start();
  await service.ready();
  const transport = createCarillonTransport({ baseUrl: service.url });
  const runs = createClient(RunService, transport);
  const workers = createClient(WorkerService, transport);
  const killed = 'projects/killed/domains/test';
  const policies = [OverlapPolicy.BUFFER_ALL, OverlapPolicy.CANCEL_OTHER, OverlapPolicy.TERMINATE_OTHER];
  const firstMs = Math.floor(Date.now() / 1_000) * 1_000 - 3_600_000;
  const living = async (): Promise<number> => {
    const { rows } = await database.pool.query<{ left: number }>(
      `select count(*)::int as left from runs where project = 'killed' and phase in ('BUFFERED', 'QUEUED', 'RUNNING')`,
    );
    return rows[0]?.left ?? 0;
  };

  let created = 0;
  let kills = 0;
  let done = false;
  /** Each name is sent until it stands there: what was decided is decided once. */
  const creating = (async () => {
    while (kills < KILLS) {
      const index = created++;
      const policy = policies[index % policies.length] ?? OverlapPolicy.BUFFER_ALL;
      const request = {
        parent: killed,
        runId: `run-${index}`,
        spec: { task: 't', queue: 'killed', retry: { maxAttempts: 100, initialBackoff: durationFromMs(1) } },
        nominalTime: timestampFromMs(firstMs + index * 1_000),
        concurrency: { key: `key-${policy}`, policy },
      };
      await until(async () => {
        const { results } = await runs
          .batchCreateRuns({ requests: [request] }, { timeoutMs: 2_000 })
          .catch(() => ({ results: [] }));
        const [result] = results;
        return (
          result !== undefined && (result.error === undefined || result.error.code === Code.AlreadyExists)
        );
      });
      await sleep(10);
    }
  })();
  // Before anybody works, so that some are sure to wait for others: two of each policy stand there when the seventh is begun.
  await until(async () => created > 2 * policies.length);
  const working = Array.from({ length: 4 }, async (_, number) => {
    while (!done) {
      const { leases } = await workers
        .leaseRuns(
          { worker: `w${number}`, queues: ['killed'], wait: durationFromMs(200) },
          { timeoutMs: 2_000 },
        )
        .catch(() => ({ leases: [] }));
      for (const { run, leaseToken } of leases) {
        const lease = { run: run?.name ?? '', leaseToken };
        // Lost on its way, it runs out.
        await workers.completeRun({ lease }, { timeoutMs: 2_000 }).catch(() => undefined);
      }
      if (leases.length === 0) await sleep(20);
    }
  });
  try {
    for (; kills < KILLS; kills++) {
      await sleep(600);
      await service.kill('SIGKILL');
      await service.start();
      await service.ready();
    }
    await creating;
    await until(async () => (await living()) === 0, 60_000);
    const { rows } = await database.pool.query<{ outcome: string; phase: string; policy: string }>(
      `select outcome, phase, concurrency_policy as policy from runs where project = 'killed'`,
    );
    expect(rows).toHaveLength(created);
    const buffered = rows.filter(({ policy }) => policy === 'BUFFER_ALL');
    expect(new Set(buffered.map(({ phase }) => phase))).toEqual(new Set(['SUCCEEDED']));
    const { rows: left } = await database.pool.query(`select from keyed_runs where project = 'killed'`);
    expect(left).toHaveLength(0);
    expect(service.deaths).toEqual([]);
    expect(rows.some(({ outcome }) => outcome === 'BUFFERED')).toBe(true);
  } finally {
    kills = KILLS;
    done = true;
    await Promise.allSettled([creating, ...working]);
    transport.close();
    await service.stop(10_000);
    await rm(folder, { recursive: true, force: true });
  }
});
