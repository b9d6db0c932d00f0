import { invalidArgument } from './domain-error.ts';

/** How a term compares. */
export type FilterOperator = '=' | '!=' | '<' | '<=' | '>' | '>=';

/** The right-hand side of a term. What it may be is decided by the field: a number, a time, one of a few words, a text. */
export interface FilterValue {
  /** The text, with quotes and escapes undone, and without the final `*` of a prefix. */
  readonly text: string;
  /** True when it ended with an unescaped `*`: any rest matches. Only with `=` and `!=`. */
  readonly prefix: boolean;
  /** 1-based column of its first character in the filter. */
  readonly column: number;
}

/** One comparison: `state = ACTIVE`, or with a key `labels.team = "payments"`. */
export interface FilterTerm {
  /** The name before the first dot. */
  readonly field: string;
  /** What stands after it: any label key. `undefined` without a dot. */
  readonly key: string | undefined;
  readonly operator: FilterOperator;
  readonly value: FilterValue;
  /** 1-based column of the field in the filter. */
  readonly column: number;
}

/** A parsed filter: all of its terms must hold. Empty: everything matches. */
export type Filter = readonly FilterTerm[];

/** The most terms of a filter. */
export const MAX_FILTER_TERMS = 20;

/** A refusal of a filter at a 1-based column, for parsers and for what gives its terms a meaning. */
export function filterError(column: number, problem: string): Error {
  return invalidArgument({ field: 'filter', description: `column ${column}: ${problem}`, reason: 'FILTER' });
}

const BARE_VALUE = /[A-Za-z0-9_./:+\-*]/;
const BARE_FIELD = /[A-Za-z0-9_./-]/;
const FIELD = /^[A-Za-z_][A-Za-z0-9_]*$/;
const OPERATORS: readonly FilterOperator[] = ['!=', '<=', '>=', '=', '<', '>'];

/**
 * Parses the subset of AIP-160 that lists understand: comparisons joined by `AND`. Values are bare words, numbers or
 * texts in single or double quotes with backslash escapes; keys after a dot are bare or quoted likewise.
 *
 * @throws {DomainError} INVALID_ARGUMENT at `filter`, with the column and what would be valid.
 */
export function parseFilter(text: string): Filter {
  const reader = new FilterReader(text);
  const terms: FilterTerm[] = [];
  reader.blanks();
  while (!reader.atEnd()) {
    if (terms.length > 0) reader.and();
    if (terms.length === MAX_FILTER_TERMS) {
      throw filterError(reader.column, `a filter has at most ${MAX_FILTER_TERMS} comparisons`);
    }
    terms.push(reader.term());
    reader.blanks();
  }
  return terms;
}

class FilterReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get column(): number {
    return this.#at + 1;
  }

  atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  blanks(): void {
    while (/\s/.test(this.#peek())) this.#at++;
  }

  and(): void {
    const column = this.column;
    const word = this.#bare(BARE_FIELD);
    if (word !== 'AND')
      throw filterError(column, `comparisons are joined by AND${unexpected(word, this.#peek())}`);
    this.blanks();
    if (this.atEnd()) throw filterError(this.column, 'a comparison must follow AND, but the filter ends');
  }

  term(): FilterTerm {
    const column = this.column;
    const { field, key } = this.#field();
    this.blanks();
    const operator = this.#operator();
    this.blanks();
    const value = this.#value();
    if (value.prefix && operator !== '=' && operator !== '!=') {
      throw filterError(value.column, 'a * at the end goes with = and != only');
    }
    return { field, key, operator, value, column };
  }

  #field(): Pick<FilterTerm, 'field' | 'key'> {
    const column = this.column;
    const word = this.#bare(BARE_FIELD);
    const dot = word.indexOf('.');
    const field = dot < 0 ? word : word.slice(0, dot);
    if (!FIELD.test(field)) {
      throw filterError(column, `a field name must stand here${unexpected(word, this.#peek())}`);
    }
    if (word === 'NOT' || word === 'OR')
      throw filterError(column, `${word} is not supported; use = and != joined by AND`);
    if (dot < 0) return { field, key: undefined };
    const bareKey = word.slice(dot + 1);
    const quoted = bareKey === '' && isQuote(this.#peek());
    const key = quoted ? this.#quoted().text : bareKey;
    if (key === '') throw filterError(this.column, 'a key must follow the dot');
    return { field, key };
  }

  #operator(): FilterOperator {
    const found = OPERATORS.find((operator) => this.#text.startsWith(operator, this.#at));
    if (found === undefined) {
      throw filterError(this.column, `one of = != < <= > >= must stand here${unexpected('', this.#peek())}`);
    }
    this.#at += found.length;
    return found;
  }

  #value(): FilterValue {
    const column = this.column;
    if (isQuote(this.#peek())) return { ...this.#quoted(true), column };
    const word = this.#bare(BARE_VALUE);
    if (word === '') throw filterError(column, `a value must stand here${unexpected('', this.#peek())}`);
    const prefix = word.endsWith('*');
    const text = prefix ? word.slice(0, -1) : word;
    if (text.includes('*'))
      throw filterError(column, 'a * stands at the end of a value only; quote it as \\*');
    return { text, prefix, column };
  }

  #quoted(wildcard = false): Pick<FilterValue, 'text' | 'prefix'> {
    const open = this.column;
    const quote = this.#take();
    let text = '';
    for (;;) {
      if (this.atEnd()) throw filterError(open, `the text that begins here has no closing ${quote}`);
      const column = this.column;
      const character = this.#take();
      if (character === quote) return { text: this.#storable(text, open), prefix: false };
      if (character === '\\') {
        if (this.atEnd()) throw filterError(column, 'a character must follow the backslash');
        text += this.#take();
      } else if (character === '*' && wildcard) {
        if (this.#peek() !== quote)
          throw filterError(column, 'a * stands at the end of a value only; write \\* for the character');
        this.#at++;
        return { text: this.#storable(text, open), prefix: true };
      } else {
        text += character;
      }
    }
  }

  /** PostgreSQL's text holds neither NUL nor half a surrogate pair, so nothing stored could match. */
  #storable(text: string, column: number): string {
    if (text.includes('\u0000') || !text.isWellFormed())
      throw filterError(column, 'the text holds an impossible character');
    return text;
  }

  #bare(characters: RegExp): string {
    const start = this.#at;
    while (characters.test(this.#peek())) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #take(): string {
    return this.#text.charAt(this.#at++);
  }
}

function isQuote(character: string): boolean {
  return character === '"' || character === "'";
}

function unexpected(word: string, next: string): string {
  const found = word === '' ? next : word;
  if (found === '') return ', but the filter ends';
  return `, not ${JSON.stringify(found.slice(0, 32))}`;
}
