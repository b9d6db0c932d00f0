import type { CronField } from './cron-field.ts';

/** What one field says: its plain values, and the day fields' special forms. Filled by the parser, item by item. */
export class FieldValues {
  readonly field: CronField;
  /** One byte per value from `field.min`. Weekday 7 of the classic dialects has been folded onto 0. */
  readonly present: Uint8Array;
  /** Bit n for `L-n`; `L` is bit 0. */
  daysFromEnd = 0;
  /** Bit n for `nW`. */
  nearestWeekdays = 0;
  /** Bit n for `L-nW`; `LW` is bit 0. */
  nearestWeekdaysFromEnd = 0;
  /** Bit d for `dL`, Sunday 0. */
  lastWeekdays = 0;
  /** Bit (n - 1) * 7 + d for `d#n`, n 1 to 4, Sunday 0; n = 5 is in `fifthWeekdays`. */
  nthWeekdays = 0;
  fifthWeekdays = 0;
  /** Whether the field begins with `*`, or is `?`: then it restricts nothing as far as the day fields' OR goes. */
  readonly unrestricted: boolean;
  /** Whether the field is a lone `?`. */
  readonly isQuestionMark: boolean;
  /** Whether it has a `*`, a range or a step: such a field makes an interval of the expression. */
  isInterval = false;

  constructor(field: CronField, text: string) {
    this.field = field;
    this.present = new Uint8Array(field.max - field.min + 1);
    this.isQuestionMark = text === '?';
    this.unrestricted = this.isQuestionMark || text.startsWith('*');
  }

  /** Adds first, first + step, … up to `last`, where a `last` below `first` wraps over the end of the field. */
  addRange(first: number, last: number, step: number): void {
    const { min, max, size } = this.field;
    const end = last < first ? last + size : last;
    for (let value = first; value <= end; value += step) {
      const wrapped = value > max ? value - size : value;
      this.present[(size === 7 && min === 0 ? wrapped % 7 : wrapped) - min] = 1;
    }
  }

  /** The values `from` to `to` as a mask whose bit 0 is `from`; at most 32 of them. */
  mask(from: number, to: number): number {
    let mask = 0;
    for (let value = from; value <= to; value++) {
      if (this.present[value - this.field.min] === 1) mask |= 1 << (value - from);
    }
    return mask;
  }
}
