import { displayWidth, pad, printable, truncate } from '../../display-text.ts';
import { calmDuration, roughDuration } from '../../duration.ts';
import { clockText } from '../../instant.ts';
import { lastSegment, shortName } from '../../resource-argument.ts';
import { tookText } from '../../runs/run-columns.ts';
import { paintPhase, phaseGlyph, phaseText } from '../../runs/run-phase.ts';
import type { Style } from '../../style.ts';
import { type Board, firedMs } from './board.ts';
import { type Component, type SeenRun, stateWords, type UpcomingFire } from './dev-view.ts';

/** Under which circumstances a frame is drawn. */
export interface FrameOptions {
  readonly columns: number;
  readonly rows: number;
  /** Epoch milliseconds. */
  readonly nowMs: number;
  /** By the monotonic clock. */
  readonly monotonicMs: number;
  /** Since when it runs, by the monotonic clock. */
  readonly startedAt: number;
  readonly style: Style;
  readonly timeZone: string;
  /** What the last line says. */
  readonly hint: string;
}

/** Wider is not easier to read. */
const WIDEST = 118;
const MARGIN = '  ';
const BAR = 16;
const FEWEST_RUNS = 3;

/** The lines of a whole screen: never more than `rows`, never wider than `columns`. Pure. */
export function frameLines(board: Board, options: FrameOptions): string[] {
  const width = Math.max(20, Math.min(options.columns, WIDEST) - MARGIN.length * 2);
  const header = headerLines(board, width, options);
  const footer = footerLines(board, width, options);
  const room = options.rows - header.length - footer.length - 5;
  const fires = Math.min(
    board.upcoming.length,
    Math.max(1, Math.floor(room * 0.45), room - Math.max(FEWEST_RUNS, board.runs.length)),
  );
  const runs = Math.max(0, room - Math.max(1, fires));
  const body = ['', ...fireLines(board, fires, width, options), '', ...runLines(board, runs, width, options)];
  const free = Math.max(0, options.rows - header.length - body.length - footer.length);
  const lines = [...header, ...body, ...Array.from({ length: free }, () => ''), ...footer];
  return lines.slice(0, options.rows).map((line) => (line === '' ? '' : MARGIN + line));
}

function headerLines(board: Board, width: number, options: FrameOptions): string[] {
  const { style, monotonicMs, startedAt } = options;
  const { succeeded, failed } = board.totals;
  const facts = [
    `up ${calmDuration(Math.floor((monotonicMs - startedAt) / 1_000))}`,
    `${board.schedules} schedules`,
    `${succeeded} succeeded`,
    ...(failed === 0 ? [] : [`${failed} failed`]),
  ].join('  ·  ');
  const components = [...board.components.values()];
  const nameWidth = Math.max(0, ...components.map(({ name }) => name.length));
  const addressWidth = Math.max(0, ...components.map(({ address }) => displayWidth(address)));
  return [
    '',
    spread(style.strong('carillon dev'), style.faint(facts), width),
    '',
    ...components.map((component) => componentLine(component, nameWidth, addressWidth, width, options)),
  ];
}

function componentLine(
  component: Component,
  nameWidth: number,
  addressWidth: number,
  width: number,
  { style, monotonicMs }: FrameOptions,
): string {
  const words = printable(stateWords(component, monotonicMs));
  const room = width - 2 - nameWidth - 3 - addressWidth - 3;
  const [dot, tell] = statePaint(component, style);
  return `${dot} ${pad(component.name, nameWidth)}   ${style.faint(pad(component.address, addressWidth))}   ${tell(truncate(words, room))}`.trimEnd();
}

function statePaint({ state }: Component, style: Style): [dot: string, tell: (text: string) => string] {
  switch (state.kind) {
    case 'ready':
      return [style.good('●'), style.faint];
    case 'starting':
    case 'stopping':
      return [style.accent('◐'), style.faint];
    case 'unready':
      return [style.warn('●'), style.warn];
    case 'waiting':
      return [style.bad('✗'), style.bad];
    case 'stopped':
      return [style.faint('○'), style.faint];
  }
}

function fireLines(board: Board, count: number, width: number, options: FrameOptions): string[] {
  const { style, nowMs } = options;
  const title = style.strong('next fires');
  if (board.upcoming.length === 0) return [title, style.faint('nothing lies ahead')];
  const shown = board.upcoming.slice(0, count);
  const label = labeller(board);
  const nameWidth = Math.min(
    Math.floor(width * 0.36),
    Math.max(...shown.map(({ schedule }) => label(schedule).length)),
  );
  const patternRoom = width - nameWidth - BAR - 2 * 3 - COUNTDOWN;
  const lines = shown.map((fire) => {
    const countdown = pad(countdownText(fire.dueMs - nowMs), COUNTDOWN, 'right');
    const bar = countdownBar(fire, nowMs, style);
    const name = pad(truncate(label(fire.schedule), nameWidth), nameWidth);
    const pattern = style.faint(truncate(printable(fire.pattern), Math.max(0, patternRoom)));
    return `${countdown}  ${bar}  ${name}  ${pattern}`.trimEnd();
  });
  const more = board.upcoming.length - shown.length;
  return [more > 0 ? spread(title, style.faint(`and ${more} later`), width) : title, ...lines];
}

const COUNTDOWN = 10;

function countdownText(ms: number): string {
  if (ms <= 0) return 'now';
  return calmDuration(Math.ceil(ms / 1_000));
}

/** Fills up until the slot is due. */
function countdownBar({ dueMs, sinceMs }: UpcomingFire, nowMs: number, style: Style): string {
  const share = dueMs <= sinceMs ? 1 : Math.min(1, Math.max(0, (nowMs - sinceMs) / (dueMs - sinceMs)));
  const filled = Math.round(share * BAR);
  return style.accent('━'.repeat(filled)) + style.faint('─'.repeat(BAR - filled));
}

function runLines(board: Board, count: number, width: number, options: FrameOptions): string[] {
  const { style } = options;
  const title = runsTitle(board, width, style);
  const shown = board.runs.slice(0, count);
  if (shown.length === 0) return board.runs.length === 0 ? [title, style.faint('none yet')] : [title];
  const label = labeller(board);
  const nameWidth = Math.min(
    Math.floor(width * 0.36),
    Math.max(...shown.map((seen) => runLabel(seen, label).length)),
  );
  const taskWidth = Math.min(18, Math.max(...shown.map(({ run }) => displayWidth(run.spec?.task ?? ''))));
  return [
    title,
    ...shown.map((seen) => runLine(seen, { name: nameWidth, task: taskWidth, all: width }, label, options)),
  ];
}

/** The heading of the runs: how late live ones are, and how many were caught up on, as far as there is room. */
function runsTitle({ lateness, caughtUp }: Board, width: number, style: Style): string {
  const live =
    lateness.count === 0
      ? ''
      : `${style.accent(lateness.sparkline(24))}  ${style.faint(`late: half ≤ ${roughDuration(lateness.quantile(0.5))}, 99 % ≤ ${roughDuration(lateness.quantile(0.99))}`)}`;
  const missed = style.faint(`caught up: ${caughtUp.count}, ≤ ${roughDuration(caughtUp.worstMs)} late`);
  const title = style.strong('runs');
  const all = caughtUp.count === 0 ? live : live === '' ? missed : `${missed}   ${live}`;
  const whole = spread(title, all, width);
  return whole === title ? spread(title, live, width) : whole;
}

const CAUGHT_UP = 'caught up';

function runLine(
  seen: SeenRun,
  widths: { readonly name: number; readonly task: number; readonly all: number },
  label: (name: string) => string,
  { style, timeZone }: FrameOptions,
): string {
  const { run, latenessMs, missed } = seen;
  const late = latenessMs === undefined ? '' : `+${roughDuration(latenessMs)}`;
  const took = tookText(run) || (run.startTime === undefined ? '' : 'running');
  const fixed = 8 + 2 + 2 + widths.name + 2 + widths.task + 2 + 10 + 2 + 10 + 2;
  const phase = phaseText(run.phase);
  const room = Math.max(0, widths.all - fixed);
  const remark =
    run.error !== undefined
      ? printable(`${phase}: ${run.error.message || run.error.code}`)
      : missed && room >= CAUGHT_UP.length
        ? CAUGHT_UP
        : '';
  return [
    `${style.faint(clockText(firedMs(seen), timeZone))}  ${paintPhase(style, phaseGlyph(run.phase), run.phase)}`,
    ` ${pad(truncate(runLabel(seen, label), widths.name), widths.name)}`,
    `  ${style.faint(pad(truncate(printable(run.spec?.task ?? ''), widths.task), widths.task))}`,
    `  ${paintLateness(style, pad(late, 10, 'right'), missed ? undefined : latenessMs)}`,
    `  ${style.faint(pad(took, 10, 'right'))}`,
    remark === '' ? '' : `  ${paintPhase(style, truncate(remark, room), run.phase)}`,
  ]
    .join('')
    .trimEnd();
}

function footerLines(board: Board, width: number, options: FrameOptions): string[] {
  const { style, timeZone } = options;
  const note = board.notes.at(-1);
  const text =
    note === undefined
      ? ''
      : truncate(`${clockText(note.atMs, timeZone)}  ${note.source}: ${printable(note.text)}`, width);
  return [style.faint(text), style.faint(truncate(options.hint, width))];
}

function runLabel({ run }: SeenRun, label: (name: string) => string): string {
  return run.schedule === '' ? lastSegment(run.name) : label(run.schedule);
}

/** Names as short as they can be told apart: without the project and domain that all of them share. */
function labeller(board: Board): (name: string) => string {
  const parents = new Set<string>();
  for (const { schedule } of board.upcoming) parents.add(parentPath(schedule));
  for (const { run } of board.runs) if (run.schedule !== '') parents.add(parentPath(run.schedule));
  return parents.size > 1 ? shortName : lastSegment;
}

function parentPath(name: string): string {
  return name.split('/').slice(0, 4).join('/');
}

function paintLateness(style: Style, text: string, latenessMs: number | undefined): string {
  if (latenessMs === undefined || latenessMs < 100) return style.faint(text);
  return latenessMs < 1_000 ? style.warn(text) : style.bad(text);
}

/** Left and right text at the ends of a line; the right one goes when there is no room. */
function spread(left: string, right: string, width: number): string {
  const gap = width - displayWidth(left) - displayWidth(right);
  return gap < 2 ? left : left + ' '.repeat(gap) + right;
}
