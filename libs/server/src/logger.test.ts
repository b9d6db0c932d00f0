import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { LogSink } from './server-under-test.ts';

function setUp(level: 'debug' | 'info' = 'info') {
  const log = new LogSink();
  return { log, logger: createLogger({ service: 'runs', instance: 'runs-1', level, destination: log }) };
}

test('lines are JSON with time, level, service and instance', () => {
  const { log, logger } = setUp();
  logger.debug('too much');
  logger.info({ slot: 's' }, 'hello');
  expect(log.lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      service: 'runs',
      instance: 'runs-1',
      slot: 's',
      msg: 'hello',
    },
  ]);
});

test('secrets are redacted, at the top and below', () => {
  const { log, logger } = setUp();
  logger.info(
    { token: 'hunter2', headers: { authorization: 'hunter2' }, a: { b: { password: 'hunter2' } } },
    'x',
  );
  expect(JSON.stringify(log.lines)).not.toContain('hunter2');
  expect(JSON.stringify(log.lines)).toContain('[redacted]');
});

test('errors carry type, stack, code and causes, and not what else hangs on them', () => {
  const { log, logger } = setUp();
  const cause = Object.assign(new TypeError('inner'), {
    code: '23505',
    detail: 'Key (name)=(private) exists',
  });
  logger.error({ err: new Error('outer', { cause }) }, 'x');
  expect(log.lines[0]?.err).toEqual({
    type: 'Error',
    message: 'outer',
    stack: expect.stringContaining('logger.test.ts'),
    cause: { type: 'TypeError', message: 'inner', stack: expect.any(String), code: '23505' },
  });
  logger.error({ err: 'a string' }, 'x');
  expect(log.lines[1]?.err).toEqual({ type: 'string', message: 'a string' });
});
