import { ManualClock } from '@carillon/core/manual-clock.ts';
import { describe, expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { LogSink } from './server-under-test.ts';
import { Shutdown } from './shutdown.ts';

function setUp() {
  const log = new LogSink();
  const clock = new ManualClock();
  const logger = createLogger({ service: 's', instance: 'i', level: 'debug', destination: log });
  return { log, clock, shutdown: new Shutdown({ clock, logger }) };
}

describe('Shutdown', () => {
  test('runs phases in order, once, and says whether all went well', async () => {
    const { shutdown } = setUp();
    const ran: string[] = [];
    shutdown.phase('first', 1_000, async () => {
      await Promise.resolve();
      ran.push('first');
    });
    shutdown.phase('second', 1_000, () => void ran.push('second'));
    expect(shutdown.signal.aborted).toBe(false);
    const [one, two] = await Promise.all([shutdown.run('SIGTERM'), shutdown.run('again')]);
    expect([one, two, ran]).toEqual([true, true, ['first', 'second']]);
    expect(shutdown.signal.aborted).toBe(true);
  });

  test('a phase that fails is logged, and the next one runs', async () => {
    const { shutdown, log } = setUp();
    let ran = false;
    shutdown.phase('bad', 1_000, () => {
      throw new Error('broken');
    });
    shutdown.phase('next', 1_000, () => {
      ran = true;
    });
    expect(await shutdown.run('SIGTERM')).toBe(false);
    expect(ran).toBe(true);
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        msg: 'shutdown phase failed',
        phase: 'bad',
        err: expect.objectContaining({ message: 'broken' }),
      }),
    );
  });

  test('a phase that overruns has its signal aborted, and the next one runs', async () => {
    const { shutdown, clock, log } = setUp();
    const ran: string[] = [];
    shutdown.phase('slow', 5_000, (signal) => {
      signal.addEventListener('abort', () => ran.push('aborted'));
      return new Promise(() => undefined);
    });
    shutdown.phase('next', 1_000, () => void ran.push('next'));
    const run = shutdown.run('SIGTERM');
    clock.advance(4_999);
    await Promise.resolve();
    expect(ran).toEqual([]);
    clock.advance(1);
    expect(await run).toBe(false);
    expect(ran).toEqual(['aborted', 'next']);
    expect(log.lines).toContainEqual(
      expect.objectContaining({ msg: 'shutdown phase ran out of time', phase: 'slow', limitMs: 5_000 }),
    );
    expect(clock.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });

  test('knows what a supervisor must grant, and refuses impossible phases', async () => {
    const { shutdown } = setUp();
    shutdown.phase('a', 5_000, () => undefined).phase('b', 10_000, () => undefined);
    expect(shutdown.limitMs).toBe(15_000);
    expect(() => shutdown.phase('c', 60_001, () => undefined)).toThrow(RangeError);
    expect(() => shutdown.phase('c', 0, () => undefined)).toThrow(RangeError);
    await shutdown.run('end');
    expect(() => shutdown.phase('late', 1_000, () => undefined)).toThrow('late');
  });
});
