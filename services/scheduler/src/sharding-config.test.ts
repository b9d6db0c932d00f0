import { hashAssignment, namedAssignment } from '@carillon/core/assignment.ts';
import { ConfigError } from '@carillon/server';
import { describe, expect, test } from 'vitest';
import { readSchedulerConfig } from './config.ts';

const DATABASE = { DATABASE_URL: 'postgres://db.example/carillon' };

function assignmentOf(environment: Record<string, string>) {
  return readSchedulerConfig({ ...DATABASE, ...environment }, 'me').assignment;
}

function faultsOf(environment: Record<string, string>): readonly string[] {
  try {
    readSchedulerConfig(environment, 'me');
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('the sharding that is configured', () => {
  test('is one shard unless it says otherwise', () => {
    expect(assignmentOf({})).toEqual(hashAssignment(1, 1));
  });

  test('is a count of shards by hash', () => {
    expect(assignmentOf({ CARILLON_SHARDS: '4', CARILLON_SHARDING_VERSION: '3' })).toEqual(
      hashAssignment(3, 4),
    );
  });

  test('is a list of shards by project or domain', () => {
    const shards = 'shop, billing;research;*';
    expect(assignmentOf({ CARILLON_SHARDING: 'project', CARILLON_SHARDS: shards })).toEqual(
      namedAssignment(1, 'project', [['billing', 'shop'], ['research'], ['*']]),
    );
    expect(assignmentOf({ CARILLON_SHARDING: 'domain', CARILLON_SHARDS: '*' })).toEqual(
      namedAssignment(1, 'domain', [['*']]),
    );
  });

  test.each([
    ['hash', '0', ['must be a count']],
    ['hash', '65', ['must be a count']],
    ['hash', 'a;*', ['must be a count']],
    ['project', '1', ['has "1", which no project', 'needs a shard *']],
    ['project', 'shop;research', ['needs a shard *']],
    ['project', 'shop,shop;*', ['has shop twice']],
    ['project', 'shop;shop,a;a;*', ['has shop twice', 'has a twice']],
    ['project', '*;shop;*', ['more than one shard *']],
    ['domain', 'dev,*', ['has dev beside *']],
    ['domain', 'dev;;*', ['has an empty place']],
    ['domain', 'Dev;*', ['has "Dev", which no domain']],
    ['domain', `${Array.from({ length: 64 }, (_, i) => `d${i}`).join(';')};*`, ['has 65 shards']],
  ])('%s %s is refused with every reason', (sharding, shards, reasons) => {
    const faults = faultsOf({ ...DATABASE, CARILLON_SHARDING: sharding, CARILLON_SHARDS: shards });
    expect(faults).toHaveLength(reasons.length);
    reasons.forEach((reason, index) => void expect(faults[index]).toContain(reason));
  });

  test('is told of beside all other faults', () => {
    const faults = faultsOf({ CARILLON_SHARDS: 'many', CARILLON_PORT: 'x' });
    expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
      'DATABASE_URL',
      'CARILLON_PORT',
      'CARILLON_SHARDS',
    ]);
  });
});
