import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { type Lease, LeaseSchema, WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { StatusSchema } from '@carillon/gen/google/rpc/status_pb.ts';
import { createLogger } from '@carillon/server';
import { Code, ConnectError, createRouterTransport, type ServiceImpl } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TaskError, type TaskHandler } from './task.ts';
import { createWorker, type Worker } from './worker.ts';

const LEASE_TTL_MS = 30_000;
const HEARTBEAT_MS = 10_000;

type Service = ServiceImpl<typeof WorkerService>;

/** A WorkerService in memory that gives out what the test queues, and keeps what it is told. */
class FakeService {
  readonly told: string[] = [];
  readonly outputs: unknown[] = [];
  readonly heartbeats: string[][] = [];
  registrations = 0;
  /** Answers the next calls of a method, one each, instead of the usual. */
  readonly refusals: { [Method in keyof Service]?: ConnectError[] } = {};
  /** What heartbeats say of a run. Default: its lease goes on. */
  readonly says = new Map<string, 'abort' | 'lost'>();
  readonly #ready: Lease[] = [];
  #waiting: (() => void)[] = [];
  #runs = 0;

  queue(task: string, more: { attemptTimeoutMs?: number } = {}): void {
    this.#runs++;
    this.#ready.push(
      create(LeaseSchema, {
        run: {
          name: `run-${this.#runs}`,
          attempt: 1,
          spec: { task, attemptTimeout: durationFromMs(more.attemptTimeoutMs ?? 3_600_000) },
        },
        leaseToken: `token-${this.#runs}`,
      }),
    );
    for (const wake of this.#waiting) wake();
  }

  refuse(method: keyof Service, ...codes: Code[]): void {
    this.refusals[method] = codes.map((code) => new ConnectError(Code[code] ?? '', code));
  }

  #mayRefuse(method: keyof Service): void {
    const refusal = this.refusals[method]?.shift();
    if (refusal !== undefined) throw refusal;
  }

  readonly methods: Service = {
    registerWorker: () => {
      this.#mayRefuse('registerWorker');
      this.registrations++;
      return { leaseTtl: durationFromMs(LEASE_TTL_MS), heartbeatInterval: durationFromMs(HEARTBEAT_MS) };
    },
    leaseRuns: async ({ maxRuns }, { signal }) => {
      this.#mayRefuse('leaseRuns');
      while (this.#ready.length === 0) {
        await new Promise<void>((resolve, reject) => {
          this.#waiting.push(resolve);
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        });
      }
      return { leases: this.#ready.splice(0, maxRuns) };
    },
    heartbeat: ({ leases }) => {
      this.#mayRefuse('heartbeat');
      this.heartbeats.push(leases.map(({ run }) => run));
      return {
        results: leases.map(({ run }) =>
          this.says.get(run) === 'lost'
            ? { error: create(StatusSchema, { code: Code.FailedPrecondition }) }
            : { abort: this.says.get(run) === 'abort' },
        ),
      };
    },
    completeRun: ({ lease, output }) => {
      this.#mayRefuse('completeRun');
      this.told.push(`${lease?.run} ${lease?.leaseToken} completed`);
      this.outputs.push(output?.content.value);
      return {};
    },
    failRun: ({ lease, error, permanent }) => {
      this.#mayRefuse('failRun');
      this.told.push(`${lease?.run} ${error?.code}${permanent ? ' for good' : ''}: ${error?.message}`);
      return {};
    },
  };
}

let clock: ManualClock;
let service: FakeService;
let worker: Worker | undefined;

beforeEach(() => {
  clock = new ManualClock();
  service = new FakeService();
});
afterEach(async () => {
  if (worker !== undefined) await settled(worker.stop(), 'the worker has stopped');
  worker = undefined;
});

/** Lets everything happen that needs no time. */
async function turn(): Promise<void> {
  for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass in small steps until something is true. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let n = 0; n < 2_000; n++) {
    await turn();
    if (condition()) return;
    clock.advance(50);
  }
  throw new Error(`never: ${what}`);
}

/** Lets time pass until a promise has settled. */
async function settled(promise: Promise<void>, what: string): Promise<void> {
  let done = false;
  void promise.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await until(() => done, what);
}

async function start(handlers: Record<string, TaskHandler>, slots = 2): Promise<Worker> {
  worker = createWorker({
    transport: createRouterTransport(({ service: add }) => add(WorkerService, service.methods)),
    worker: 'w',
    queues: ['q'],
    slots,
    handlers,
    clock,
    entropy: { fraction: () => 0.5, uuid: () => '' },
    logger: createLogger({ service: 'worker', instance: 'w', level: 'silent' }),
  });
  const started = worker.start();
  await settled(started, 'the worker is known');
  return worker;
}

/** A handler that runs until it is stopped, and then fails with what the signal says. */
const untilStopped: TaskHandler = ({ signal }) =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });

const told = (count: number) => until(() => service.told.length >= count, `${count} answers`);

describe('a worker', () => {
  test('runs tasks and tells how they ended', async () => {
    await start({
      good: async ({ run }) => ({ values: { name: run.name } }),
      nothing: async () => undefined,
      bad: async () => {
        throw new Error('it broke');
      },
      coded: async () => {
        throw new TaskError('EXIT_STATUS', 'status 2', { permanent: true });
      },
    });
    for (const task of ['good', 'nothing', 'bad', 'coded', 'unknown', 'constructor']) service.queue(task);
    await told(6);
    expect(service.told.toSorted()).toEqual([
      'run-1 token-1 completed',
      'run-2 token-2 completed',
      'run-3 TASK_FAILED: it broke',
      'run-4 EXIT_STATUS for good: status 2',
      'run-5 UNKNOWN_TASK: this worker does not know the task unknown',
      'run-6 UNKNOWN_TASK: this worker does not know the task constructor',
    ]);
    expect(service.outputs).toEqual([{ name: 'run-1' }, undefined]);
  });

  test('works on no more runs at once than it has slots', async () => {
    let [now, most] = [0, 0];
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const running = await start({
      t: async () => {
        most = Math.max(most, ++now);
        await gate;
        now--;
        return undefined;
      },
    });
    for (let n = 0; n < 5; n++) service.queue('t');
    await until(() => running.active === 2, 'both slots are taken');
    await turn();
    open();
    await told(5);
    expect(most).toBe(2);
  });

  test('registers when the service can be reached, and again when it could not', async () => {
    service.refuse('registerWorker', Code.Unavailable, Code.Unavailable);
    service.refuse('leaseRuns', Code.Unavailable);
    await start({ t: async () => undefined });
    await until(() => service.registrations === 2, 'it has registered again');
    service.queue('t');
    await told(1);
  });
});

describe('heartbeats', () => {
  test('name every run that is worked on, and none when there is none', async () => {
    await start({ t: untilStopped });
    await until(() => service.heartbeats.length === 1, 'a heartbeat');
    service.queue('t');
    service.queue('t');
    await until(() => worker?.active === 2, 'both run');
    await until(() => service.heartbeats.length === 2, 'a heartbeat');
    expect(service.heartbeats.map((runs) => runs.toSorted())).toEqual([[], ['run-1', 'run-2']]);
  });

  test('bring the request to abort, which the worker answers', async () => {
    await start({ t: untilStopped });
    service.queue('t');
    service.says.set('run-1', 'abort');
    await told(1);
    expect(service.told).toEqual(['run-1 ABORTED: the run was aborted']);
  });

  test('bring the loss of a lease: the handler stops, and nobody is told', async () => {
    const causes: string[] = [];
    await start({
      t: (context) => {
        context.signal.addEventListener('abort', () => causes.push(context.signal.reason.stopCause));
        return untilStopped(context);
      },
    });
    service.queue('t');
    service.says.set('run-1', 'lost');
    await until(() => causes.length === 1 && worker?.active === 0, 'it has stopped');
    expect(causes).toEqual(['LEASE_LOST']);
    expect(service.told).toEqual([]);
  });

  test('that are not answered for a whole lease time stop the handler: another worker may have the run', async () => {
    const stoppedAt: number[] = [];
    await start({
      t: (context) => {
        context.signal.addEventListener('abort', () => stoppedAt.push(clock.monotonic()));
        return untilStopped(context);
      },
    });
    service.queue('t');
    await until(() => worker?.active === 1, 'it runs');
    await until(() => service.heartbeats.length === 1, 'a heartbeat');
    const heardAt = clock.monotonic();
    service.refuse('heartbeat', ...Array.from({ length: 20 }, () => Code.Unavailable));
    await until(() => stoppedAt.length === 1, 'it has stopped');
    expect(stoppedAt[0]).toBeGreaterThan(heardAt + LEASE_TTL_MS - HEARTBEAT_MS);
    expect(stoppedAt[0]).toBeLessThanOrEqual(heardAt + LEASE_TTL_MS + 100);
    // It is only a suspicion, so the service is told all the same.
    await told(1);
    expect(service.told[0]).toContain('LEASE_LOST');
  });
});

describe('an answer', () => {
  test('is sent until the service has heard it', async () => {
    service.refuse(
      'completeRun',
      Code.Unavailable,
      Code.DeadlineExceeded,
      Code.Internal,
      Code.ResourceExhausted,
    );
    await start({ t: async () => undefined });
    service.queue('t');
    await told(1);
    expect(service.told).toEqual(['run-1 token-1 completed']);
  });

  test('is not sent again when the lease was lost', async () => {
    service.refuse('completeRun', Code.FailedPrecondition);
    await start({ t: async () => undefined });
    service.queue('t');
    service.queue('t');
    await told(1);
    expect(service.told).toEqual(['run-2 token-2 completed']);
  });

  test('whose output is refused becomes a failure, not silence', async () => {
    service.refuse('completeRun', Code.InvalidArgument);
    await start({ t: async () => ({ data: new Uint8Array(2) }) });
    service.queue('t');
    await told(1);
    expect(service.told[0]).toMatch(/^run-1 OUTPUT_REFUSED for good: the output was refused/);
  });

  test('of a handler that is stopped at its time says so', async () => {
    await start({ t: untilStopped });
    service.queue('t', { attemptTimeoutMs: 5_000 });
    await told(1);
    expect(service.told).toEqual(['run-1 ATTEMPT_TIMEOUT: the attempt exceeded its time']);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(5_000);
    expect(clock.monotonic()).toBeLessThan(6_000);
  });

  test('of a handler that ignores a time beyond a timer is still awaited', async () => {
    await start({ t: untilStopped });
    service.queue('t', { attemptTimeoutMs: 90_000 });
    await told(1);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(90_000);
  });

  test('carries messages that the service can store', async () => {
    await start({
      t: async () => {
        throw new Error(`a\0b${'😀'.repeat(5_000)}`);
      },
    });
    service.queue('t');
    await told(1);
    const message = service.told[0]?.slice('run-1 TASK_FAILED: '.length) ?? '';
    expect(message.startsWith('a\ufffdb😀')).toBe(true);
    expect(Array.from(message)).toHaveLength(4_096);
  });
});

describe('the end', () => {
  test('by drain lets running tasks finish, and leases nothing more', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const running = await start({ t: () => gate.then(() => undefined) });
    service.queue('t');
    await until(() => running.active === 1, 'it runs');
    const drained = running.drain(20_000);
    await turn();
    clock.advance(1_000);
    service.queue('t');
    await turn();
    open();
    await settled(drained, 'it has drained');
    expect(service.told).toEqual(['run-1 token-1 completed']);
  });

  test('by drain stops what takes too long, and says so', async () => {
    const running = await start({ t: untilStopped });
    service.queue('t');
    await until(() => running.active === 1, 'it runs');
    const drained = running.drain(5_000);
    await settled(drained, 'it has drained');
    expect(service.told).toEqual(['run-1 WORKER_STOPPING: the worker is stopping']);
    expect(clock.monotonic()).toBeLessThan(8_000);
  });

  test('does not wait for ever for a handler that does not listen', async () => {
    const running = await start({ t: () => new Promise(() => undefined) });
    service.queue('t');
    await until(() => running.active === 1, 'it runs');
    const stopped = running.stop();
    await settled(stopped, 'it has stopped');
    expect(service.told).toEqual([]);
  });

  test('goes on with heartbeats while it drains', async () => {
    const running = await start({ t: untilStopped });
    service.queue('t');
    await until(() => running.active === 1, 'it runs');
    const drained = running.drain(25_000);
    await settled(drained, 'it has drained');
    expect(service.heartbeats.length).toBeGreaterThanOrEqual(2);
  });

  test('before the service knew it fails the start', async () => {
    service.refuse('registerWorker', ...Array.from({ length: 100 }, () => Code.Unavailable));
    worker = createWorker({
      transport: createRouterTransport(({ service: add }) => add(WorkerService, service.methods)),
      worker: 'w',
      handlers: {},
      clock,
      entropy: { fraction: () => 0.5, uuid: () => '' },
      logger: createLogger({ service: 'worker', instance: 'w', level: 'silent' }),
    });
    const started = worker.start().catch((error: unknown) => String(error));
    await turn();
    const stopped = worker.stop();
    await settled(stopped, 'it has stopped');
    expect(await started).toMatch(/stopped before the service knew it/);
  });
});
