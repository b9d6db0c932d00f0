import {
  type Assignment,
  hashAssignment,
  MOST_SHARDS,
  namedAssignment,
  type ShardingStrategy,
  WILDCARD,
} from '@carillon/core/assignment.ts';
import { isNameSegment } from '@carillon/core/resource-name.ts';

/** How sharding is configured. */
export interface ShardingSettings {
  readonly sharding: ShardingStrategy;
  /** Under `hash` how many shards; else their ids, separated by commas, and the shards by semicolons. */
  readonly shards: string;
  /** From 1. */
  readonly shardingVersion: number;
}

/** The assignment that is configured, or all that is wrong with it, a sentence each. */
export function parseAssignment(settings: ShardingSettings): Assignment | readonly string[] {
  const { sharding, shards, shardingVersion } = settings;
  if (sharding !== 'hash') return parseNamed(sharding, shards, shardingVersion);
  const count = /^\d{1,3}$/.test(shards.trim()) ? Number(shards) : Number.NaN;
  if (count >= 1 && count <= MOST_SHARDS) return hashAssignment(shardingVersion, count);
  return [
    `CARILLON_SHARDS must be a count of shards, 1 to ${MOST_SHARDS}, with CARILLON_SHARDING=hash, not ${JSON.stringify(shards)}`,
  ];
}

function parseNamed(
  strategy: 'project' | 'domain',
  text: string,
  version: number,
): Assignment | readonly string[] {
  const faults: string[] = [];
  const fault = (problem: string): void => void faults.push(`CARILLON_SHARDS ${problem}`);
  const shards = text.split(';').map((shard) => shard.split(',').map((id) => id.trim()));
  const all = shards.flat();
  if (shards.length > MOST_SHARDS) fault(`has ${shards.length} shards, more than ${MOST_SHARDS}`);
  if (all.includes('')) fault('has an empty place between its separators');
  for (const id of new Set(all)) {
    if (id !== '' && id !== WILDCARD && !isNameSegment(id))
      fault(`has ${JSON.stringify(id)}, which no ${strategy} can be called`);
    if (id !== '' && id !== WILDCARD && all.indexOf(id) !== all.lastIndexOf(id)) fault(`has ${id} twice`);
  }
  const wildcards = all.filter((id) => id === WILDCARD).length;
  if (wildcards === 0)
    fault(
      `needs a shard ${WILDCARD} for every ${strategy} that it does not name, as in "shop,billing;research;*"`,
    );
  if (wildcards > 1) fault(`has more than one shard ${WILDCARD}`);
  for (const ids of shards) {
    if (ids.includes(WILDCARD) && ids.some((id) => id !== WILDCARD))
      fault(
        `has ${ids.filter((id) => id !== WILDCARD).join(', ')} beside ${WILDCARD} in one shard, which has every ${strategy} without them`,
      );
  }
  return faults.length > 0 ? faults : namedAssignment(version, strategy, shards);
}
