import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  ConfigError,
  decimal,
  describeConfig,
  flag,
  integer,
  list,
  oneOf,
  optional,
  port,
  readConfig,
  Secret,
  secret,
  text,
  url,
} from './config.ts';

const schema = {
  databaseUrl: secret('DATABASE_URL', { description: 'Where the data is.' }),
  port: port('CARILLON_PORT', { description: 'The port.', default: 7001 }),
  leaseTtlMs: integer('CARILLON_LEASE_TTL_MS', {
    description: 'Lease.',
    default: 15_000,
    min: 1_000,
    max: 60_000,
  }),
  ratePerSecond: decimal('CARILLON_RATE_PER_SECOND', {
    description: 'Rate.',
    default: 10,
    min: 0.1,
    max: 10_000,
  }),
  level: oneOf('CARILLON_LOG_LEVEL', ['debug', 'info'], { description: 'Level.', default: 'info' }),
  verify: flag('CARILLON_VERIFY', { description: 'Verify.', default: true }),
  queues: list('CARILLON_QUEUES', { description: 'Queues.', default: ['default'] }),
  runsUrl: url('CARILLON_RUNS_URL', { description: 'Runs.', default: 'http://127.0.0.1:7003' }),
  instance: optional(text('CARILLON_INSTANCE', { description: 'Name of the replica.' })),
};

describe('readConfig', () => {
  test('fills in defaults, with types', () => {
    const config = readConfig({ DATABASE_URL: 'postgres://u:p@h/d' }, schema);
    const typed: {
      port: number;
      level: 'debug' | 'info';
      instance: string | undefined;
      queues: readonly string[];
    } = config;
    expect({ ...typed, databaseUrl: undefined }).toEqual({
      databaseUrl: undefined,
      port: 7001,
      leaseTtlMs: 15_000,
      ratePerSecond: 10,
      level: 'info',
      verify: true,
      queues: ['default'],
      runsUrl: 'http://127.0.0.1:7003',
    });
    expect(config.databaseUrl.reveal()).toBe('postgres://u:p@h/d');
  });

  test('reads what is given; empty counts as unset', () => {
    const config = readConfig(
      {
        DATABASE_URL: 'x',
        CARILLON_PORT: '0',
        CARILLON_RATE_PER_SECOND: '2.5',
        CARILLON_VERIFY: 'false',
        CARILLON_QUEUES: ' a, b ,,c',
        CARILLON_LOG_LEVEL: '',
        CARILLON_INSTANCE: 'pod-1',
      },
      schema,
    );
    expect(config).toMatchObject({
      port: 0,
      ratePerSecond: 2.5,
      verify: false,
      queues: ['a', 'b', 'c'],
      level: 'info',
      instance: 'pod-1',
    });
  });

  test('reports every fault at once', () => {
    const read = () =>
      readConfig(
        {
          CARILLON_PORT: '70000',
          CARILLON_LEASE_TTL_MS: '15s',
          CARILLON_RATE_PER_SECOND: 'NaN',
          CARILLON_LOG_LEVEL: 'loud',
          CARILLON_VERIFY: 'yes',
          CARILLON_RUNS_URL: 'http://user:pass@host',
        },
        schema,
      );
    expect(read).toThrow(ConfigError);
    const faults = captured(read).faults;
    expect(faults).toEqual([
      'DATABASE_URL is required: Where the data is.',
      'CARILLON_PORT must be an integer, 0 to 65535, not "70000"',
      'CARILLON_LEASE_TTL_MS must be an integer, 1000 to 60000, not "15s"',
      'CARILLON_RATE_PER_SECOND must be a number, 0.1 to 10000, not "NaN"',
      'CARILLON_LOG_LEVEL must be one of debug, info, not "loud"',
      'CARILLON_VERIFY must be true or false, not "yes"',
      'CARILLON_RUNS_URL must not carry credentials, not "http://[secret]@host"',
    ]);
  });

  test.each(['1e3', '0x10', ' 1', '1 ', '', '1.5', '9'.repeat(20)])('integers are plain: not %j', (value) => {
    const read = () => readConfig({ N: value }, { n: integer('N', { description: 'N.' }) });
    expect(read).toThrow(ConfigError);
  });
});

function captured(read: () => unknown): ConfigError {
  try {
    read();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('a secret does not print', () => {
  const value = new Secret('hunter2');
  const printed = [
    `${value}`,
    JSON.stringify({ value }),
    inspect({ value }),
    inspect(value, { showHidden: true }),
  ];
  expect(printed.join()).not.toContain('hunter2');
});

test('describeConfig is a table of all variables', () => {
  const lines = describeConfig(schema).split('\n');
  expect(lines).toHaveLength(1 + Object.keys(schema).length);
  expect(lines[0]).toMatch(/^VARIABLE +ACCEPTS +DEFAULT +PURPOSE$/);
  expect(lines[1]).toMatch(/^DATABASE_URL +secret +\(required\) +Where the data is\.$/);
  expect(lines[2]).toMatch(/^CARILLON_PORT +integer, 0 to 65535 +7001 +The port\.$/);
  expect(lines.at(-1)).toMatch(/^CARILLON_INSTANCE +text +\(unset\) +Name of the replica\.$/);
});
