import { SpecError } from '@carillon/core/recurrence-error.ts';

/** Enums of protos are open: a newer binary may have stored a number that this one has no word for. @throws {SpecError} then. */
export function known<T>(words: Readonly<Partial<Record<number, T>>>, value: number, field: string): T {
  const word = words[value];
  if (word !== undefined) return word;
  throw unusable(field, `${value} is not known to this version`, 'use a version that knows it');
}

/** A spec that no recurrence can be made of. */
export function unusable(field: string, problem: string, advice: string): SpecError {
  return new SpecError({ kind: 'MALFORMED', field, problem, advice });
}
