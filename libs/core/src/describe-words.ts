/** `a`, `a and b`, `a, b and c`. */
export function listWords(words: readonly string[], conjunction = 'and'): string {
  if (words.length <= 1) return words[0] ?? '';
  return `${words.slice(0, -1).join(', ')} ${conjunction} ${words.at(-1)!}`;
}

/** `1st`, `2nd`, `3rd`, `4th`, … */
export function ordinal(n: number): string {
  const teens = n % 100 >= 11 && n % 100 <= 13;
  const ending = teens ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${ending}`;
}

/** `first` to `fifth`, as weekdays of a month are counted. */
export function ordinalWord(n: number): string {
  return ['first', 'second', 'third', 'fourth', 'fifth'][n - 1] ?? ordinal(n);
}

/** `every day`, `every 3 days`. */
export function everyUnit(n: number, unit: string): string {
  return n === 1 ? `every ${unit}` : `every ${n} ${unit}s`;
}

/** Numbers as words, runs of three and more as `a to b`. */
export function numberRuns(values: readonly number[], name: (value: number) => string = String): string[] {
  const words: string[] = [];
  for (let i = 0; i < values.length; ) {
    let end = i;
    while (end + 1 < values.length && values[end + 1] === values[end]! + 1) end++;
    if (end - i >= 2) words.push(`${name(values[i]!)} to ${name(values[end]!)}`);
    else for (let k = i; k <= end; k++) words.push(name(values[k]!));
    i = end + 1;
  }
  return words;
}
