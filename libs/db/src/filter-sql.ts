import { type Filter, type FilterOperator, type FilterTerm, filterError } from '@carillon/core/filter.ts';
import { parseRfc3339 } from '@carillon/core/rfc3339.ts';
import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';
import { timestampOf } from './epoch-micros.ts';

/** A field that a filter may name, and the SQL that yields it. Values only ever become parameters. */
export type FilterField =
  /** A text. `=` and `!=` may end with `*`; the order is that of code points. */
  | { readonly kind: 'text'; readonly sql: Expression<unknown> }
  /** One of a few words, by what the SQL yields for each; `=` and `!=` only. */
  | {
      readonly kind: 'word';
      readonly sql: Expression<unknown>;
      readonly words: ReadonlyMap<string, string | number>;
    }
  /** An instant, written as RFC 3339 from 1970 to 2199. */
  | { readonly kind: 'time'; readonly sql: Expression<unknown> }
  /** A whole number. */
  | { readonly kind: 'integer'; readonly sql: Expression<unknown> }
  /** A jsonb object of texts, named with a key; `!=` also matches rows without the key. */
  | { readonly kind: 'labels'; readonly sql: Expression<unknown> }
  /** Whatever the function makes of it. It refuses by {@link filterError}. */
  | { readonly kind: 'other'; readonly term: (term: FilterTerm) => Expression<SqlBool> };

/** The fields that a list's filter may name. */
export type FilterFields = ReadonlyMap<string, FilterField>;

const OPERATORS: Readonly<Record<FilterOperator, RawBuilder<unknown>>> = {
  '=': sql`=`,
  // A missing value differs from every given one.
  '!=': sql`is distinct from`,
  '<': sql`<`,
  '<=': sql`<=`,
  '>': sql`>`,
  '>=': sql`>=`,
};

/** The years a filter's times may lie in, as those of every timestamp in the API. */
const MIN_TIME_MICROS = 0;
const MAX_TIME_MICROS = Date.UTC(2200, 0) * 1000;

/**
 * The condition of a filter over an allow-list of fields; `true` for the empty filter.
 *
 * @throws {DomainError} INVALID_ARGUMENT at `filter`, with the column: an unknown field, an operator or a value that does not fit it.
 */
export function filterSql(filter: Filter, fields: FilterFields): Expression<SqlBool> {
  if (filter.length === 0) return sql<boolean>`true`;
  return sql<boolean>`(${sql.join(
    filter.map((term) => termSql(term, fields)),
    sql` and `,
  )})`;
}

function termSql(term: FilterTerm, fields: FilterFields): Expression<SqlBool> {
  const field = fields.get(term.field);
  if (field === undefined) {
    throw filterError(
      term.column,
      `${term.field} is not a field to filter by; ${[...fields.keys()].join(', ')} are`,
    );
  }
  if (field.kind === 'other') return field.term(term);
  if (field.kind === 'labels') return labelSql(field.sql, term);
  if (term.key !== undefined) throw filterError(term.column, `${term.field} has no keys`);
  if (field.kind === 'text') return textSql(field.sql, term);
  if (term.value.prefix) throw filterError(term.value.column, `${term.field} has no prefixes: remove the *`);
  switch (field.kind) {
    case 'word':
      return sql<boolean>`${field.sql} ${OPERATORS[equality(term)]} ${word(field.words, term)}`;
    case 'time':
      return sql<boolean>`${field.sql} ${OPERATORS[term.operator]} ${timestampOf(time(term))}`;
    case 'integer':
      return sql<boolean>`${field.sql} ${OPERATORS[term.operator]} ${integer(term)}::bigint`;
  }
}

function textSql(column: Expression<unknown>, { operator, value }: FilterTerm): Expression<SqlBool> {
  if (value.prefix) {
    const matches = sql<boolean>`${column} ^@ ${value.text}::text`;
    return operator === '=' ? matches : sql<boolean>`not coalesce(${matches}, false)`;
  }
  if (operator === '=' || operator === '!=')
    return sql<boolean>`${column} ${OPERATORS[operator]} ${value.text}::text`;
  return sql<boolean>`${column} collate "C" ${OPERATORS[operator]} ${value.text}::text`;
}

function labelSql(column: Expression<unknown>, term: FilterTerm): Expression<SqlBool> {
  if (term.key === undefined) throw filterError(term.column, `a key must follow, as in ${term.field}.team`);
  if (term.operator === '=' && !term.value.prefix) {
    // Containment is what the GIN index answers.
    return sql<boolean>`${column} @> jsonb_build_object(${term.key}::text, ${term.value.text}::text)`;
  }
  return textSql(sql`(${column} ->> ${term.key}::text)`, term);
}

function equality(term: FilterTerm): '=' | '!=' {
  if (term.operator === '=' || term.operator === '!=') return term.operator;
  throw filterError(term.column, `${term.field} is compared by = and != only`);
}

function word(words: ReadonlyMap<string, string | number>, { field, value }: FilterTerm): string | number {
  const found = words.get(value.text);
  if (found !== undefined) return found;
  throw filterError(value.column, `${field} is one of ${[...words.keys()].join(', ')}`);
}

function time({ field, value }: FilterTerm): number {
  const micros = parseRfc3339(value.text);
  if (micros !== undefined && micros >= MIN_TIME_MICROS && micros < MAX_TIME_MICROS) return micros;
  throw filterError(value.column, `${field} is a time from 1970 to 2199, as in 2026-11-01T00:00:00Z`);
}

function integer({ field, value }: FilterTerm): number {
  if (/^-?\d{1,15}$/.test(value.text)) return Number(value.text);
  throw filterError(value.column, `${field} is a whole number of at most 15 digits`);
}
