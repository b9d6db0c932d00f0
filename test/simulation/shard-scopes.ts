import { type Assignment, type ShardScope, scopeOf, type UnitKey } from '@carillon/core/assignment.ts';

const scopes = new WeakMap<Assignment, Map<string, ShardScope>>();
const slotSets = new WeakMap<ShardScope, ReadonlySet<UnitKey>>();

/** The schedules of a shard: the same object each time, for as long as its assignment is kept. */
export function scopeFor(assignment: Assignment, shard: string): ShardScope {
  let known = scopes.get(assignment);
  if (!known) {
    known = new Map();
    scopes.set(assignment, known);
  }
  let scope = known.get(shard);
  if (!scope) {
    scope = scopeOf(assignment, shard);
    known.set(shard, scope);
  }
  return scope;
}

/** Whether a unit is one of a shard's. */
export function hasUnit(scope: ShardScope, unit: UnitKey): boolean {
  if (scope.strategy !== 'hash') return scope.names.includes(String(unit)) !== scope.others;
  let slots = slotSets.get(scope);
  if (!slots) {
    slots = new Set<UnitKey>(scope.slots);
    slotSets.set(scope, slots);
  }
  return slots.has(Number(unit));
}
