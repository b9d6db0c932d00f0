import { HASH_SLOTS } from './hash-slot.ts';

/** By what schedules are dealt out to shards: the hash of their identity, their project, or their domain. */
export type ShardingStrategy = 'hash' | 'project' | 'domain';

/** A unit of ownership: the number of a hash slot; under a strategy by name, the name. */
export type UnitKey = number | string;

/** What of a schedule decides which shard it belongs to. None of it ever changes. */
export interface SchedulePlace {
  readonly hashSlot: number;
  readonly project: string;
  readonly domain: string;
}

/** A shard of an assignment. */
export interface AssignedShard {
  /** Names its lease: unique within its assignment, and the same for the same shard of another one. */
  readonly name: string;
  /** The projects or domains it has, in the order of the alphabet, or the wildcard alone. Empty under `hash`: there the names decide. */
  readonly ids: readonly string[];
}

/** Which shard owns which schedules: immutable, under its version. */
export interface Assignment {
  /** From 1. The highest one that was ever set is in force. */
  readonly version: number;
  readonly strategy: ShardingStrategy;
  readonly shards: readonly AssignedShard[];
}

/** The schedules of one shard, by their units. */
export type ShardScope =
  | { readonly strategy: 'hash'; readonly slots: readonly number[] }
  | {
      readonly strategy: 'project' | 'domain';
      readonly names: readonly string[];
      /** The wildcard shard: it has every name but these. */
      readonly others: boolean;
    };

/** Stands for every id that no other shard names. */
export const WILDCARD = '*';

/** The only shard of an assignment that shares nothing out. */
export const SINGLE_SHARD = 'default';

/** The most shards of an assignment. */
export const MOST_SHARDS = 64;

/** Hash slots over `count` shards. */
export function hashAssignment(version: number, count: number): Assignment {
  const shards = Array.from({ length: count }, (_, index) => ({
    name: hashShardName(index, count),
    ids: [],
  }));
  return { version, strategy: 'hash', shards };
}

/** Projects or domains over shards, each given by its ids; one of them is the wildcard alone. */
export function namedAssignment(
  version: number,
  strategy: 'project' | 'domain',
  shards: readonly (readonly string[])[],
): Assignment {
  return {
    version,
    strategy,
    shards: shards.map((ids) => {
      const sorted = [...ids].sort();
      // No other shard has this id, so no other has this name.
      return { name: `${strategy}-${sorted[0]}`, ids: sorted };
    }),
  };
}

/** What stands under no version: whether two assignments deal out the same. */
export function sameShards(a: Assignment, b: Assignment): boolean {
  const content = ({ strategy, shards }: Assignment): string =>
    JSON.stringify([
      strategy,
      shards.map(({ name, ids }) => [name, ids]).sort(([a0], [b0]) => (String(a0) < String(b0) ? -1 : 1)),
    ]);
  return content(a) === content(b);
}

/** Whether everything is in one shard, as programs that know nothing of assignments have it. */
export function isSingleShard({ strategy, shards }: Assignment): boolean {
  return strategy === 'hash' && shards.length === 1;
}

/** The unit of a schedule under a strategy. */
export function unitOf(strategy: ShardingStrategy, place: SchedulePlace): UnitKey {
  return strategy === 'hash' ? place.hashSlot : place[strategy];
}

/** The name of the shard that a schedule belongs to. */
export function shardOf(assignment: Assignment, place: SchedulePlace): string {
  return directoryOf(assignment)(place);
}

/**
 * The schedules of a shard.
 *
 * @throws {Error} if the assignment has no such shard
 */
export function scopeOf(assignment: Assignment, shard: string): ShardScope {
  const { strategy, shards } = assignment;
  const own = shards.find(({ name }) => name === shard);
  if (own === undefined) throw new Error(`assignment ${assignment.version} has no shard ${shard}`);
  if (strategy === 'hash') {
    const index = shards.indexOf(own);
    const slots: number[] = [];
    slotOwners(shards.length).forEach((owner, slot) => {
      if (owner === index) slots.push(slot);
    });
    return { strategy, slots };
  }
  if (own.ids[0] !== WILDCARD) return { strategy, names: own.ids, others: false };
  const elsewhere = shards.filter((other) => other !== own).flatMap(({ ids }) => ids);
  return { strategy, names: elsewhere, others: true };
}

/** The units of a scope that are known without a schedule in them. */
export function unitsOf(scope: ShardScope): readonly UnitKey[] {
  return scope.strategy === 'hash' ? scope.slots : [];
}

/** Whether a scope leaves nothing out. */
export function isEverything(scope: ShardScope): boolean {
  if (scope.strategy === 'hash') return scope.slots.length === HASH_SLOTS;
  return scope.others && scope.names.length === 0;
}

/** Whether a schedule, whatever its name, could belong to both scopes: certain within one strategy, taken for granted across two. */
export function couldShareUnits(a: ShardScope, b: ShardScope): boolean {
  if (a.strategy === 'hash' || b.strategy === 'hash') {
    if (a.strategy !== 'hash' || b.strategy !== 'hash') return true;
    const slots = new Set(a.slots);
    return b.slots.some((slot) => slots.has(slot));
  }
  if (a.strategy !== b.strategy) return true;
  if (a.others && b.others) return true;
  if (a.others) return b.names.some((name) => !a.names.includes(name));
  if (b.others) return a.names.some((name) => !b.names.includes(name));
  return a.names.some((name) => b.names.includes(name));
}

/** A lease as it may have been granted: the version that it was granted under, and its shard. */
export interface GrantedShard {
  readonly version: number;
  readonly shard: string;
}

/** The leases of older versions in `history` that could hold a unit of a shard: none of them may be held when that one is granted. */
export function olderLeases(
  history: readonly Assignment[],
  assignment: Assignment,
  shard: string,
): GrantedShard[] {
  const scope = scopeOf(assignment, shard);
  const older = history.filter(({ version }) => version < assignment.version);
  return older.flatMap((each) =>
    each.shards
      .filter(({ name }) => couldShareUnits(scope, scopeOf(each, name)))
      .map(({ name }) => ({ version: each.version, shard: name })),
  );
}

function hashShardName(index: number, count: number): string {
  return count === 1 ? SINGLE_SHARD : `hash-${index}`;
}

const directories = new WeakMap<Assignment, (place: SchedulePlace) => string>();

/** Looks shards up; made once for each assignment. */
function directoryOf(assignment: Assignment): (place: SchedulePlace) => string {
  let directory = directories.get(assignment);
  if (directory === undefined) {
    directory = makeDirectory(assignment);
    directories.set(assignment, directory);
  }
  return directory;
}

function makeDirectory({ strategy, shards }: Assignment): (place: SchedulePlace) => string {
  if (strategy === 'hash') {
    const owners = slotOwners(shards.length);
    return ({ hashSlot }) => shards[owners[hashSlot]!]!.name;
  }
  const byId = new Map(shards.flatMap(({ name, ids }) => ids.map((id) => [id, name] as const)));
  const others = byId.get(WILDCARD)!;
  return (place) => byId.get(place[strategy]) ?? others;
}

const owners = new Map<number, Uint8Array>();

/**
 * Which of `count` shards has each hash slot, by rendezvous: the one that weighs most for it. With a shard more, slots move to the new one
 * alone, about 1 in `count` + 1.
 */
function slotOwners(count: number): Uint8Array {
  let found = owners.get(count);
  if (found === undefined) {
    found = Uint8Array.from({ length: HASH_SLOTS }, (_, slot) => {
      let owner = 0;
      for (let index = 1; index < count; index++)
        if (weight(slot, index) > weight(slot, owner)) owner = index;
      return owner;
    });
    owners.set(count, found);
  }
  return found;
}

/** What a shard weighs for a slot: both numbers, mixed (MurmurHash3's finaliser) so that every bit depends on all of them. */
function weight(slot: number, index: number): number {
  let value = Math.imul(slot + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca77);
  for (let round = 0; round < 2; round++) {
    value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    value ^= value >>> 16;
  }
  return value >>> 0;
}
