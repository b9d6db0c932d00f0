/** Stands for what was left out. */
const ELLIPSIS = '…';
const REPLACEMENT = '\u{fffd}';

/**
 * Text from outside as any database and any log takes it: no NUL characters and no halves of surrogate pairs, each replaced by U+FFFD, and at
 * most `most` UTF-16 units long, with an ellipsis in place of what was cut off.
 */
export function storableText(text: string, most: number): string {
  const cut = text.length > most ? text.slice(0, most - ELLIPSIS.length) : text;
  // A pair that was cut in two loses its first half as well.
  const whole = cut.length < text.length ? cut.replace(/[\ud800-\udbff]$/, '') + ELLIPSIS : cut;
  return whole.toWellFormed().replaceAll('\0', REPLACEMENT);
}
