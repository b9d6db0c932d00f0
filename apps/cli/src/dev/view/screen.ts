import type { Output } from '../../host.ts';

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[2J';
const LEAVE = '\u001b[?25h\u001b[?1049l';
/** Terminals that know these show what lies between them at once; the others ignore them. */
const BEGIN_UPDATE = '\u001b[?2026h';
const END_UPDATE = '\u001b[?2026l';
const CLEAR_LINE_END = '\u001b[0K';

/** The terminal's alternate screen: what was there before comes back at the end. */
export class Screen {
  readonly #output: Output;
  #shown: readonly string[] = [];
  #open = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Takes the screen. */
  open(): void {
    this.#open = true;
    this.#shown = [];
    this.#output.write(ENTER);
  }

  /** Shows these lines; only those that changed are written, so that nothing flickers. */
  show(lines: readonly string[]): void {
    if (!this.#open) return;
    let update = '';
    for (let row = 0; row < Math.max(lines.length, this.#shown.length); row += 1) {
      const line = lines[row] ?? '';
      if (line !== this.#shown[row]) update += `\u001b[${row + 1};1H${line}${CLEAR_LINE_END}`;
    }
    this.#shown = lines;
    if (update !== '') this.#output.write(BEGIN_UPDATE + update + END_UPDATE);
  }

  /** Forgets what is shown: the next {@link show} writes every line, as after a resize. */
  forget(): void {
    if (this.#open) this.#output.write('\u001b[2J');
    this.#shown = [];
  }

  /** Gives the screen back. Harmless when it was not taken. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#output.write(LEAVE);
  }
}
