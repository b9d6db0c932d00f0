import { stripVTControlCharacters } from 'node:util';

const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** What terminals draw two cells wide: East Asian wide forms, and emoji. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|^\p{Emoji_Presentation}/u;
/** Text of one cell per character, which is nearly all of it. */
const NARROW = /^[\x20-\x7e]*$/;
const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Text from elsewhere made safe for a terminal: control and bidirectional override characters become `�`. */
export function printable(text: string): string {
  return text.replace(CONTROL, '\ufffd');
}

/** As {@link printable}, but keeps line breaks and tabs. For blocks of output. */
export function printableLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => printable(line.replaceAll('\t', '    ')))
    .join('\n');
}

/** How many cells a terminal needs for it; styles count nothing. */
export function displayWidth(text: string): number {
  const plain = stripVTControlCharacters(text);
  if (NARROW.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of GRAPHEMES.segment(plain)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Cuts unstyled text to `width` cells, ending in `…` if something was left out. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 0) return '';
  let kept = '';
  let used = 1;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const next = used + displayWidth(segment);
    if (next > width) break;
    kept += segment;
    used = next;
  }
  return `${kept.trimEnd()}…`;
}

/** Fills up with blanks to `width` cells, on the right (default) or on the left. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const blanks = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'left' ? text + blanks : blanks + text;
}
