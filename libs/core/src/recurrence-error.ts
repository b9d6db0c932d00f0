/** Why a spec is refused. `NEVER_FIRES` is well formed, but no instant ever matches it. */
export type SpecErrorKind = 'MALFORMED' | 'NEVER_FIRES';

/** Where a spec is wrong, and what would be right. */
export interface SpecFault {
  readonly kind: SpecErrorKind;
  /** The field at fault, in words: `minute`, `day-of-month`, `time zone`, `anchor`, `exclusions.dates`, … */
  readonly field: string;
  /** 1-based column in the expression, where the fault has one. */
  readonly column?: number;
  /** What is wrong, as a sentence without a full stop. */
  readonly problem: string;
  /** What would be valid instead, as a sentence without a full stop. */
  readonly advice: string;
}

/** A recurrence spec that is refused, with the field, the column and what would be valid. */
export class SpecError extends Error {
  readonly kind: SpecErrorKind;
  /** The field at fault, in words. */
  readonly field: string;
  /** 1-based column in the expression; undefined where the fault is not in an expression. */
  readonly column: number | undefined;
  /** What would be valid instead. */
  readonly advice: string;

  constructor(fault: SpecFault) {
    const place = fault.column === undefined ? fault.field : `${fault.field}, column ${fault.column}`;
    super(`${place}: ${fault.problem}; ${fault.advice}`);
    this.name = 'SpecError';
    this.kind = fault.kind;
    this.field = fault.field;
    this.column = fault.column;
    this.advice = fault.advice;
  }
}
