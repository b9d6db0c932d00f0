import { SpecError } from '../recurrence-error.ts';
import type { CronDialect } from '../recurrence-spec.ts';
import type { CronField } from './cron-field.ts';
import { FieldValues } from './field-values.ts';
import { identityHash } from './identity-hash.ts';

/** Where a field's text stands, and what it is read with. */
export interface FieldSource {
  readonly field: CronField;
  readonly dialect: CronDialect;
  readonly text: string;
  /** 1-based column of the text in the expression. */
  readonly column: number;
  /** The identity `H` is hashed from. */
  readonly identity: string;
}

/** Reads one field of a cron expression. */
export function parseField(source: FieldSource): FieldValues {
  const values = new FieldValues(source.field, source.text);
  if (values.isQuestionMark && isDayField(source.field)) {
    values.addRange(source.field.min, source.field.min + source.field.size - 1, 1);
    return values;
  }
  let start = 0;
  for (;;) {
    const comma = source.text.indexOf(',', start);
    const end = comma < 0 ? source.text.length : comma;
    new ItemParser(source, values, start, end).parse();
    if (comma < 0) return values;
    start = comma + 1;
  }
}

function isDayField(field: CronField): boolean {
  return field.name === 'day-of-month' || field.name === 'day-of-week';
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isLetter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
}

/** One item of a field's list: a cursor over `text[start, end)`. */
class ItemParser {
  readonly #source: FieldSource;
  readonly #field: CronField;
  readonly #values: FieldValues;
  readonly #start: number;
  readonly #end: number;
  #at: number;

  constructor(source: FieldSource, values: FieldValues, start: number, end: number) {
    this.#source = source;
    this.#field = source.field;
    this.#values = values;
    this.#start = start;
    this.#end = end;
    this.#at = start;
  }

  parse(): void {
    const first = this.#peek();
    if (first === '') this.#fail('an item of the list is empty', this.#field.valid);
    if (first === '*') this.#parseStar();
    else if (first === 'H' || first === 'h') this.#parseHash();
    else if (first === '?') this.#failQuestionMark();
    else if (first === '/') this.#fail('a step has nothing to step from', 'write */n, a/n or a-b/n');
    else if (this.#field.name === 'day-of-month' && (first === 'L' || first === 'l')) this.#parseLastDay();
    else this.#parseValue();
    if (this.#at < this.#end) {
      this.#fail(`${JSON.stringify(this.#peek())} is unexpected here`, this.#field.valid);
    }
  }

  #parseStar(): void {
    this.#at++;
    const { min, size } = this.#field;
    this.#values.isInterval = true;
    this.#values.addRange(min, min + size - 1, this.#parseStep() ?? 1);
  }

  #parseValue(): void {
    const column = this.#at;
    const first = this.#readValue();
    const next = this.#peek().toUpperCase();
    if (this.#field.name === 'day-of-month' && next === 'W') {
      this.#at++;
      this.#values.nearestWeekdays |= 1 << first;
      return;
    }
    if (this.#field.name === 'day-of-week' && (next === 'L' || next === '#')) {
      this.#parseWeekdayOfMonth(this.#weekday(first), next);
      return;
    }
    if (next === '-') {
      this.#at++;
      if (this.#at === this.#end) this.#fail('a range has no end', this.#field.valid);
      const last = this.#readValue();
      this.#values.isInterval = true;
      this.#addRange(first, last, this.#parseStep() ?? 1, column);
      return;
    }
    const step = this.#parseStep();
    if (step === undefined) {
      this.#values.addRange(first, first, 1);
      return;
    }
    this.#values.isInterval = true;
    const { min, max } = this.#field;
    // Counted from Sunday = 0 the week ends at 6; 7 is Sunday again, with nothing after it.
    const last = this.#field.name === 'day-of-week' && min === 0 ? Math.max(6, first) : max;
    this.#values.addRange(first, last, step);
  }

  #addRange(first: number, last: number, step: number, column: number): void {
    const classicWeekday = this.#field.name === 'day-of-week' && this.#field.min === 0;
    if (last >= first) this.#values.addRange(first, last, step);
    else if (this.#field.name === 'year') {
      this.#at = column;
      this.#fail('a range of years does not wrap', 'put the earlier year first');
    } else this.#values.addRange(classicWeekday ? first % 7 : first, last, step);
  }

  #parseWeekdayOfMonth(weekday: number, mark: string): void {
    this.#at++;
    if (mark === 'L') {
      this.#values.lastWeekdays |= 1 << weekday;
      return;
    }
    const column = this.#at;
    const text = this.#readDigits();
    const nth = Number(text);
    if (text.length !== 1 || nth < 1 || nth > 5) {
      this.#at = column;
      this.#fail('the number after # is not 1 to 5', 'write MON#1 to MON#5, or MONL for the last one');
    }
    if (nth === 5) this.#values.fifthWeekdays |= 1 << weekday;
    else this.#values.nthWeekdays |= 1 << ((nth - 1) * 7 + weekday);
  }

  /** `L`, `L-n`, `LW`, `L-nW`. */
  #parseLastDay(): void {
    this.#at++;
    let before = 0;
    if (this.#peek() === '-') {
      this.#at++;
      const column = this.#at;
      const text = this.#readDigits();
      before = Number(text);
      if (text === '' || text.length > 2 || before > 30) {
        this.#at = column;
        this.#fail('the number after L- is not 0 to 30', 'write L-0 (the last day) to L-30');
      }
    }
    if (this.#peek().toUpperCase() === 'W') {
      this.#at++;
      this.#values.nearestWeekdaysFromEnd |= 1 << before;
      return;
    }
    if (this.#peek() === '/')
      this.#fail('a step cannot follow L', 'list the days instead, such as L,L-7,L-14');
    this.#values.daysFromEnd |= 1 << before;
  }

  /** `H`, `H(a-b)`, each with or without a step. */
  #parseHash(): void {
    this.#at++;
    const { name, min, size } = this.#field;
    if (name === 'year') this.#fail('H has no meaning for years', this.#field.valid);
    // Hashed days stop at the 28th, so that every month has its slot.
    let [first, last] = [min, name === 'day-of-month' ? 28 : min + size - 1];
    if (this.#peek() === '(') {
      this.#at++;
      first = this.#readValue();
      this.#expect('-', 'H takes a range: H(a-b)');
      last = this.#readValue();
      this.#expect(')', 'H takes a range: H(a-b)');
      if (last < first) last += size;
    }
    const step = this.#parseStep();
    const hash = identityHash(this.#source.identity, name);
    const span = last - first + 1;
    if (step === undefined) {
      const value = first + (hash % span);
      this.#addHashed(value, value, 1);
      return;
    }
    this.#values.isInterval = true;
    this.#addHashed(first + (hash % Math.min(step, span)), last, step);
  }

  #addHashed(first: number, last: number, step: number): void {
    const { max, size } = this.#field;
    for (let value = first; value <= last; value += step) {
      const wrapped = value > max ? value - size : value;
      this.#values.addRange(wrapped, wrapped, 1);
    }
  }

  /** A step if there is one, checked against the field; the cursor stands behind it. */
  #parseStep(): number | undefined {
    if (this.#peek() !== '/') return undefined;
    this.#at++;
    const column = this.#at;
    const text = this.#readDigits();
    const { size, insteadOfStep } = this.#field;
    const step = Number(text);
    if (text !== '' && step >= 1 && step < size && text.length <= Math.max(2, String(size).length))
      return step;
    this.#at = column;
    if (text === '') return this.#fail('a step has no number', `write */n with n from 1 to ${size - 1}`);
    if (step === 0) return this.#fail('a step of 0 never moves on', `write */n with n from 1 to ${size - 1}`);
    if (step < size)
      return this.#fail(`the number ${excerpt(text)} is too long`, 'leave out the leading zeros');
    return this.#fail(`a step of ${excerpt(text)} goes beyond the field`, insteadOfStep);
  }

  #readValue(): number {
    const code = this.#source.text.charCodeAt(this.#at);
    if (this.#at < this.#end && isDigit(code)) return this.#readNumber();
    if (this.#at < this.#end && isLetter(code)) return this.#readName();
    return this.#fail(
      this.#at === this.#end ? 'a value is missing' : `${JSON.stringify(this.#peek())} is unexpected here`,
      this.#field.valid,
    );
  }

  #readNumber(): number {
    const column = this.#at;
    const text = this.#readDigits();
    const { min, max, name, valid } = this.#field;
    const value = Number(text);
    const fits = name === 'year' ? text.length === 4 : text.length <= 2;
    if (fits && value >= min && value <= max) return value;
    this.#at = column;
    return this.#fail(`${excerpt(text)} is out of range`, valid);
  }

  #readName(): number {
    const column = this.#at;
    while (this.#at < this.#end && isLetter(this.#source.text.charCodeAt(this.#at))) this.#at++;
    const name = this.#source.text.slice(column, this.#at).toLowerCase();
    const { names } = this.#field;
    const value = names?.get(name);
    if (value !== undefined) return value;
    if (this.#field.name === 'day-of-week' && name.endsWith('l')) {
      const weekday = names?.get(name.slice(0, -1));
      if (weekday !== undefined) {
        this.#at--;
        return weekday;
      }
      if (name === 'l') return this.#readBareLast(column);
    }
    this.#at = column;
    return this.#fail(`"${excerpt(name.toUpperCase())}" is no name of this field`, this.#field.valid);
  }

  /** A lone `L` among the weekdays: Saturday in AWS's manual, and a guess elsewhere. */
  #readBareLast(column: number): number {
    if (this.#source.dialect === 'AWS' && this.#at === this.#end && column === this.#start) return 7;
    this.#at = column;
    return this.#fail(
      'L alone may mean Saturday or the last day of the week',
      'write SATL or SUNL for the last one of the month, or SAT for every Saturday',
    );
  }

  #readDigits(): string {
    const column = this.#at;
    while (this.#at < this.#end && isDigit(this.#source.text.charCodeAt(this.#at))) this.#at++;
    return this.#source.text.slice(column, this.#at);
  }

  /** 0 for Sunday, in any dialect. */
  #weekday(value: number): number {
    return (value - (this.#field.min === 0 ? 0 : 1)) % 7;
  }

  #peek(): string {
    return this.#at < this.#end ? this.#source.text[this.#at]! : '';
  }

  #expect(mark: string, advice: string): void {
    if (this.#peek() !== mark) this.#fail(`"${mark}" is missing`, advice);
    this.#at++;
  }

  #failQuestionMark(): never {
    if (isDayField(this.#field)) this.#fail('? stands alone', 'give ? or the values, not both');
    return this.#fail('? is for the day fields only', this.#field.valid);
  }

  #fail(problem: string, advice: string): never {
    const column = this.#source.column + this.#at;
    throw new SpecError({ kind: 'MALFORMED', field: this.#field.name, column, problem, advice });
  }
}

function excerpt(text: string): string {
  return text.length > 16 ? `${text.slice(0, 16)}…` : text;
}
