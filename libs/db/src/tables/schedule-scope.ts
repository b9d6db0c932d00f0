import { isEverything, type ShardScope } from '@carillon/core/assignment.ts';

/** A condition on schedules, as constant SQL text and the value it reads. */
export interface ScopeCondition {
  readonly sql: string;
  /** What its parameter is bound to; empty if it has none. */
  readonly values: readonly string[];
}

/**
 * That a schedule is one of a shard's.
 *
 * @param schedule the alias of `schedules` in the query
 * @param value where the query finds the value: a parameter, as `$3`; or a setting, in a query that takes none
 */
export function inScope(scope: ShardScope, schedule: string, value: string): ScopeCondition {
  if (isEverything(scope)) return { sql: 'true', values: [] };
  // As a subquery it is evaluated once.
  const list = (type: string): string => `(select jsonb_array_elements_text(${value}::jsonb)::${type})`;
  if (scope.strategy === 'hash')
    return {
      sql: `${schedule}.hash_slot = any (array${list('smallint')})`,
      values: [JSON.stringify(scope.slots)],
    };
  const column = `${schedule}.${scope.strategy}`;
  const values = [JSON.stringify(scope.names)];
  if (scope.others) return { sql: `${column} <> all (array${list('text')})`, values };
  return { sql: `${column} = any (array${list('text')})`, values };
}
