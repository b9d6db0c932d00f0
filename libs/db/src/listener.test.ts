import { afterEach, describe, expect, test } from 'vitest';
import { type Hints, Listener, type ListenerOptions } from './listener.ts';
import { Notifier } from './notifier.ts';
import { useDatabase } from './test/database.ts';
import { PgBouncer, type PoolMode } from './test/pg-bouncer.ts';
import { systemClock, systemEntropy } from './test/system-clock.ts';
import { TcpProxy } from './test/tcp-proxy.ts';

const database = useDatabase();
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

type Event = 'listening' | Error | Hints;

/** A listener whose events can be awaited. */
class Observed {
  readonly listener: Listener;
  readonly events: Event[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(more: Partial<ListenerOptions> = {}) {
    const note = (event: Event): void => {
      this.events.push(event);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    };
    this.listener = new Listener({
      url: database.url,
      applicationName: 'listener-test',
      channels: ['changes', 'Other "channel"'],
      onListening: () => note('listening'),
      onHints: note,
      onLost: note,
      clock: systemClock,
      entropy: systemEntropy,
      ...more,
    });
    undo.push(() => this.listener.close());
  }

  /** The first event that fits, among those to come and those not yet asked for. */
  async next<Found extends Event>(fits: (event: Event) => event is Found): Promise<Found> {
    for (;;) {
      const at = this.events.findIndex(fits);
      const found = this.events[at];
      if (found !== undefined && fits(found)) {
        this.events.splice(0, at + 1);
        return found;
      }
      await this.#wake.promise;
    }
  }
}

const isListening = (event: Event): event is 'listening' => event === 'listening';
const isLost = (event: Event): event is Error => event instanceof Error;
const isHints = (event: Event): event is Hints => event instanceof Map;

/** The process that serves the listener. That of the test before may take a moment to notice that its client is gone. */
async function backend(): Promise<number> {
  for (;;) {
    const { rows } = await database.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'listener-test'`,
    );
    const [only, ...others] = rows;
    if (only && others.length === 0) return only.pid;
  }
}

test('passes on what is announced after it said that it listens, by channel', async () => {
  const observed = new Observed();
  await observed.listener.start();
  expect(observed.events).toEqual(['listening']);
  await database.pool.query(`notify changes, 'one'`);
  expect(await observed.next(isHints)).toEqual(new Map([['changes', new Set(['one'])]]));
  await database.pool.query(`notify "Other ""channel"""; notify unrelated`);
  expect(await observed.next(isHints)).toEqual(new Map([['Other "channel"', new Set([''])]]));
  await expect(backend()).resolves.toBeGreaterThan(0);
});

test('calls nobody after it was closed, and leaves no connection behind', async () => {
  const observed = new Observed();
  await observed.listener.start();
  await observed.listener.close();
  expect(observed.events).toEqual(['listening']);
  const gone = `select count(*)::int as count from pg_stat_activity where application_name = 'listener-test'`;
  while ((await database.pool.query(gone)).rows[0].count > 0);
});

test('a burst of 50,000 comes in few calls, its payloads as "many"', async () => {
  const observed = new Observed();
  await observed.listener.start();
  await database.pool.query(`select pg_notify('changes', i::text) from generate_series(1, 50000) as i`);
  await database.pool.query(`notify "Other ""channel""", 'last'`);
  let calls = 0;
  let many = false;
  for (;;) {
    calls++;
    const hints = await observed.next(isHints);
    many ||= hints.get('changes') === 'many';
    if (hints.has('Other "channel"')) break;
  }
  expect(many).toBe(true);
  expect(calls).toBeLessThan(500);
});

test('calls are at least the pause apart', async () => {
  const observed = new Observed({ coalesceMs: 100 });
  await observed.listener.start();
  const times: number[] = [];
  for (const i of [1, 2, 3]) {
    await database.pool.query(`notify changes, '${i}'`);
    await observed.next(isHints);
    times.push(performance.now());
  }
  // Node's timers count whole milliseconds.
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(80);
  expect((times[2] ?? 0) - (times[1] ?? 0)).toBeGreaterThan(80);
});

describe('after a loss it listens anew and says so', () => {
  test('when the server ends the session', async () => {
    const observed = new Observed();
    await observed.listener.start();
    await observed.next(isListening);
    await database.pool.query('select pg_terminate_backend($1)', [await backend()]);
    await observed.next(isLost);
    await observed.next(isListening);
    await database.pool.query('notify changes');
    await observed.next(isHints);
  });

  test('within 2 s when the socket is half open', async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    const observed = new Observed({ url: proxy.through(database.url) });
    await observed.listener.start();
    await observed.next(isListening);
    const started = performance.now();
    proxy.freeze();
    const lost = observed.next(isLost);
    // Announced while nobody can hear it: what follows "listening" is the reader's to find out.
    await database.pool.query('notify changes');
    expect((await lost).message).toContain('no answer within 1000 ms');
    expect(performance.now() - started).toBeLessThan(2_000);
    proxy.thaw();
    await observed.next(isListening);
    await database.pool.query('notify changes');
    await observed.next(isHints);
  });

  test('when the server was away, and only then', async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    proxy.refuse();
    const observed = new Observed({
      url: proxy.through(database.url),
      reconnect: { initialMs: 5, maxMs: 20 },
    });
    const started = observed.listener.start();
    for (let i = 0; i < 5; i++) await observed.next(isLost);
    expect(observed.events).not.toContain('listening');
    proxy.refuse(false);
    await started;
    proxy.refuse();
    proxy.reset();
    for (let i = 0; i < 5; i++) await observed.next(isLost);
    proxy.refuse(false);
    await observed.next(isListening);
  });

  test('when connecting leads into a black hole', async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    proxy.freeze();
    const observed = new Observed({ url: proxy.through(database.url), connectTimeoutMs: 100 });
    const started = observed.listener.start();
    await observed.next(isLost);
    proxy.thaw();
    await started;
  });
});

test('closing does not wait for a server that does not answer', async () => {
  const proxy = await TcpProxy.start(database.url);
  undo.push(() => proxy.close());
  proxy.freeze();
  const observed = new Observed({ url: proxy.through(database.url), connectTimeoutMs: 60_000 });
  const started = observed.listener.start();
  const refused = expect(started).rejects.toThrow('closed');
  while (proxy.sockets === 0) await new Promise((resolve) => setImmediate(resolve));
  const before = performance.now();
  await observed.listener.close();
  expect(performance.now() - before).toBeLessThan(1_000);
  await refused;
});

describe('the notifier', () => {
  function notifier(errors: Error[], url = database.url): Notifier {
    const made = new Notifier({
      url,
      applicationName: 'notifier-test',
      onError: (error) => void errors.push(error),
      clock: systemClock,
    });
    return made;
  }

  test('sends equal announcements once, and the rest before it closes', async () => {
    const observed = new Observed();
    await observed.listener.start();
    const errors: Error[] = [];
    const ours = notifier(errors);
    for (let i = 0; i < 10_000; i++) ours.notify('changes', String(i % 3));
    await ours.close();
    await database.pool.query(`notify "Other ""channel""", 'last'`);
    const seen: string[] = [];
    for (;;) {
      const hints = await observed.next(isHints);
      for (const payloads of hints.values()) seen.push(...(payloads === 'many' ? ['many'] : payloads));
      if (hints.has('Other "channel"')) break;
    }
    expect(new Set(seen)).toEqual(new Set(['0', '1', '2', 'last']));
    expect(errors).toEqual([]);
    expect(() => ours.notify('changes')).toThrow('closed');
  });

  test('needs few statements for many announcements', async () => {
    const observed = new Observed();
    await observed.listener.start();
    const ours = notifier([]);
    const before = await transactions();
    for (let round = 0; round < 200; round++) {
      ours.notify('changes', 'x');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ours.close();
    expect((await transactions()) - before).toBeLessThan(100);
  });

  test('tells what it could not send, and goes on when the server is back', async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    const observed = new Observed();
    await observed.listener.start();
    const told = Promise.withResolvers<Error>();
    const ours = new Notifier({
      url: proxy.through(database.url),
      applicationName: 'notifier-test',
      onError: told.resolve,
      clock: systemClock,
    });
    undo.push(() => ours.close());
    proxy.refuse();
    ours.notify('changes', 'lost');
    expect((await told.promise).message).toBe('1 hints were not sent');
    proxy.refuse(false);
    ours.notify('changes', 'sent');
    expect(await observed.next(isHints)).toEqual(new Map([['changes', new Set(['sent'])]]));
  });

  test('refuses what PostgreSQL would refuse', async () => {
    const ours = notifier([]);
    undo.push(() => ours.close());
    expect(() => ours.notify('changes', 'é'.repeat(4_000))).toThrow(RangeError);
    ours.notify('changes', 'é'.repeat(3_999));
  });
});

/** Statements of the notifier that were committed so far. */
async function transactions(): Promise<number> {
  const { rows } = await database.pool.query(
    'select xact_commit::int as count from pg_stat_database where datname = current_database()',
  );
  return rows[0].count;
}

describe.runIf(PgBouncer.installed())('behind PgBouncer', () => {
  test('in transaction mode it is refused at the start, with the reason', async () => {
    const observed = new Observed({ url: await behindPgBouncer('transaction'), connectTimeoutMs: 500 });
    await expect(observed.listener.start()).rejects.toMatchObject({
      name: 'SessionStateLostError',
      message: expect.stringContaining('pooler in transaction or statement mode'),
    });
    expect(observed.events).toEqual([]);
  });

  test('in session mode it works', async () => {
    const observed = new Observed({ url: await behindPgBouncer('session') });
    await observed.listener.start();
    await database.pool.query('notify changes');
    await observed.next(isHints);
  });
});

/** The test's database, by way of a pooler. */
async function behindPgBouncer(mode: PoolMode): Promise<string> {
  const bouncer = await PgBouncer.start(database.url, mode);
  undo.push(() => bouncer.close());
  return bouncer.url;
}
