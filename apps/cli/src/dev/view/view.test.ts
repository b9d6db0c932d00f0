import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { type Run, RunPhase, RunSchema, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { describe, expect, it } from 'vitest';
import { displayWidth } from '../../display-text.ts';
import { hostUnderTest } from '../../host-under-test.ts';
import { createStyle } from '../../style.ts';
import { Board } from './board.ts';
import type { SeenRun } from './dev-view.ts';
import { type FrameOptions, frameLines } from './frame.ts';
import { LatenessWindow } from './lateness-window.ts';
import { LiveView } from './live-view.ts';
import { PlainView } from './plain-view.ts';
import { Screen } from './screen.ts';

const NOW = Date.parse('2026-11-21T12:00:00Z');

function runOf(id: string, phase: RunPhase, more: Partial<Run> = {}): Run {
  const run = create(RunSchema, {
    name: `projects/p/domains/d/runs/${id}`,
    schedule: 'projects/p/domains/d/schedules/settle',
    phase,
    version: 1n,
    fireTime: timestampFromMs(NOW - 5_000),
    startTime: timestampFromMs(NOW - 4_000),
    spec: create(RunSpecSchema, { task: 'command' }),
  });
  return Object.assign(run, more);
}

function seen(id: string, phase: RunPhase, latenessMs: number | undefined, more: Partial<Run> = {}): SeenRun {
  return { run: runOf(id, phase, more), latenessMs, missed: false };
}

function busyBoard(): Board {
  const board = new Board();
  board.components.set('postgres', {
    name: 'postgres',
    address: '127.0.0.1:5432',
    state: { kind: 'ready' },
    restarts: 0,
  });
  board.components.set('runs', {
    name: 'runs',
    address: 'http://127.0.0.1:7703',
    state: { kind: 'waiting', exit: 'ended by SIGKILL', restartAt: 2_500 },
    restarts: 2,
  });
  board.components.set('worker', { name: 'worker', address: '', state: { kind: 'ready' }, restarts: 1 });
  board.schedules = 2;
  board.upcoming = [
    {
      schedule: 'projects/p/domains/d/schedules/tick',
      pattern: 'every 10s',
      dueMs: NOW + 2_500,
      sinceMs: NOW - 7_500,
    },
    {
      schedule: 'projects/p/domains/d/schedules/settle',
      pattern: '0 18 * * *',
      dueMs: NOW + 4_000_000,
      sinceMs: NOW - 4_000_000,
    },
  ];
  board.addRun(seen('r1', RunPhase.SUCCEEDED, 3, { endTime: timestampFromMs(NOW - 3_958) }), false);
  board.addRun(
    seen('r2', RunPhase.FAILED, 240, {
      fireTime: timestampFromMs(NOW - 1_000),
      error: {
        $typeName: 'carillon.run.v1.RunError',
        code: 'EXIT_STATUS',
        message: 'exited with\u001b[31m 3',
      },
    }),
    false,
  );
  board.addNote({ atMs: NOW, source: 'runs', text: 'ended by SIGKILL; it is started again' });
  return board;
}

const FRAME: FrameOptions = {
  columns: 90,
  rows: 20,
  nowMs: NOW,
  monotonicMs: 125_000,
  startedAt: 0,
  style: createStyle(false),
  timeZone: 'UTC',
  hint: 'Ctrl-C stops everything',
};

describe('a frame', () => {
  it('shows states, countdowns, runs and lateness', () => {
    const lines = frameLines(busyBoard(), { ...FRAME, monotonicMs: 1_000 });
    expect(lines).toHaveLength(20);
    expect(lines.slice(1, 7)).toEqual([
      '  carillon dev                       up 1 s  ·  2 schedules  ·  1 succeeded  ·  1 failed',
      '',
      '  ● postgres   127.0.0.1:5432          ready',
      '  ✗ runs       http://127.0.0.1:7703   ended by SIGKILL, starting again in 2 s',
      '  ● worker                             ready, restarted once',
      '',
    ]);
    expect(lines.slice(7, 10)).toEqual([
      '  next fires',
      '         3 s  ━━━━━━━━━━━━────  tick    every 10s',
      '    1 h 06 m  ━━━━━━━━────────  settle  0 18 * * *',
    ]);
    expect(lines[11]).toMatch(/^ {2}runs {2,}▂▆ {2}late: half ≤ 3 ms, 99 % ≤ 240 ms$/);
    expect(lines[12]).toContain('11:59:59  ✗ settle  command     +240 ms');
    expect(lines[12]).toContain('failed: exited with�[31m 3');
    expect(lines[13]).toBe('  11:59:55  ✓ settle  command       +3 ms       42 ms');
    expect(lines.slice(-2)).toEqual([
      '  12:00:00  runs: ended by SIGKILL; it is started again',
      '  Ctrl-C stops everything',
    ]);
  });

  it('tells missed slots from late ones', () => {
    const board = busyBoard();
    board.addRun({ ...seen('r3', RunPhase.SUCCEEDED, 245_000), missed: true }, false);
    const lines = frameLines(board, { ...FRAME, columns: 120 });
    expect(lines[11]).toMatch(/ caught up: 1, ≤ 4 m 05 s late {3}▂▆ {2}late: half ≤ 3 ms, 99 % ≤ 240 ms$/);
    expect(lines.filter((line) => line.includes('+4 m 05 s'))).toEqual([
      expect.stringMatching(/ {2}caught up$/),
    ]);
    const narrow = frameLines(board, { ...FRAME, columns: 72 });
    expect(narrow[11]).toMatch(/^ {2}runs {2,}▂▆ {2}late: half ≤ 3 ms, 99 % ≤ 240 ms$/);
    expect(frameLines(board, { ...FRAME, columns: 58 }).join()).not.toContain('caught');
  });

  it('fits any terminal', () => {
    const board = busyBoard();
    board.addRun({ ...seen('r3', RunPhase.SUCCEEDED, 245_000), missed: true }, false);
    for (const columns of [20, 40, 80, 200]) {
      for (const rows of [1, 5, 10, 24, 60]) {
        const lines = frameLines(board, { ...FRAME, columns, rows, style: createStyle(true) });
        expect(lines.length).toBeLessThanOrEqual(rows);
        if (columns >= 80) for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
      }
    }
  });

  it('does not say that nothing ran where it has no room to show what did', () => {
    const lines = frameLines(busyBoard(), { ...FRAME, columns: 60, rows: 13 });
    expect(lines).not.toContain('  none yet');
  });

  it('is empty and calm before anything is known', () => {
    const lines = frameLines(new Board(), FRAME);
    expect(lines).toContain('  nothing lies ahead');
    expect(lines).toContain('  none yet');
  });

  it('writes names in full where projects differ', () => {
    const board = busyBoard();
    board.upcoming = [
      { schedule: 'projects/q/domains/d/schedules/x', pattern: '', dueMs: NOW + 1, sinceMs: NOW },
    ];
    expect(frameLines(board, FRAME).join('\n')).toContain('q/d/x');
    expect(frameLines(board, FRAME).join('\n')).toContain('p/d/settle');
  });
});

describe('the board', () => {
  it('counts a run once, and lets no older state replace a newer one', () => {
    const board = new Board();
    board.addRun(seen('r', RunPhase.RUNNING, 4, { version: 2n }), false);
    board.addRun(seen('r', RunPhase.QUEUED, 4, { version: 1n }), true);
    board.addRun(seen('r', RunPhase.SUCCEEDED, 4, { version: 3n }), false);
    board.addRun(seen('r', RunPhase.SUCCEEDED, 4, { version: 4n }), false);
    expect(board.totals).toEqual({ succeeded: 1, failed: 0 });
    expect(board.lateness.count).toBe(1);
    expect(board.runs.map(({ run }) => run.phase)).toEqual([RunPhase.SUCCEEDED]);
  });

  it('keeps what is newest', () => {
    const board = new Board();
    for (let index = 0; index < 1_000; index += 1) {
      board.addRun(
        seen(`r${index}`, RunPhase.SUCCEEDED, 1, { fireTime: timestampFromMs(NOW + index) }),
        false,
      );
      board.addNote({ atMs: index, source: 'x', text: String(index) });
    }
    expect(board.runs.length).toBeLessThanOrEqual(400);
    expect(board.runs[0]?.run.name).toBe('projects/p/domains/d/runs/r999');
    expect(board.notes).toHaveLength(50);
    expect(board.totals.succeeded).toBe(1_000);
  });
});

describe('lateness', () => {
  it('has quantiles and bars on a fixed scale', () => {
    const lateness = new LatenessWindow(5);
    expect(lateness.quantile(0.5)).toBeNaN();
    for (const value of [9_999, 1, 3, 8, 20, 3_000]) lateness.add(value);
    expect(lateness.count).toBe(5);
    expect([0, 0.5, 0.99].map((share) => lateness.quantile(share))).toEqual([1, 8, 3_000]);
    expect(lateness.sparkline(10)).toBe('▁▂▃▄█');
    expect(lateness.sparkline(2)).toBe('▄█');
  });
});

describe('the screen', () => {
  it('writes only what changed, and gives the terminal back', () => {
    const host = hostUnderTest();
    const screen = new Screen(host.stdout);
    const shown = (lines: readonly string[]): string => {
      host.written.stdout = '';
      screen.show(lines);
      return host.written.stdout;
    };
    expect(shown(['too early'])).toBe('');
    screen.open();
    expect(host.written.stdout).toBe('\u001b[?1049h\u001b[?25l\u001b[2J');
    expect(shown(['a', 'b'])).toContain('a\u001b[0K\u001b[2;1Hb\u001b[0K');
    expect(shown(['a', 'c'])).toBe('\u001b[?2026h\u001b[2;1Hc\u001b[0K\u001b[?2026l');
    expect(shown(['a', 'c'])).toBe('');
    expect(shown(['a'])).toBe('\u001b[?2026h\u001b[2;1H\u001b[0K\u001b[?2026l');
    screen.forget();
    expect(shown(['a'])).toContain('\u001b[1;1Ha');
    host.written.stdout = '';
    screen.close();
    screen.close();
    expect(host.written.stdout).toBe('\u001b[?25h\u001b[?1049l');
  });

  it('is drawn by the clock, anew after a resize, and no more after the end', () => {
    const clock = new ManualClock(NOW);
    let resize = (): void => undefined;
    const host = hostUnderTest({ clock });
    const stdout = {
      ...host.stdout,
      size: { columns: 60, rows: 12 },
      onResize: (callback: () => void) => {
        resize = callback;
        return () => {
          resize = () => undefined;
        };
      },
    };
    const view = new LiveView({ ...host, stdout }, 'hint');
    view.note('x', 'something');
    host.written.stdout = '';
    clock.advance(200);
    expect(host.written.stdout).toContain('x: something');
    host.written.stdout = '';
    resize();
    expect(host.written.stdout.startsWith('\u001b[2J')).toBe(true);
    expect(host.written.stdout).toContain('carillon dev');
    view.close();
    host.written.stdout = '';
    clock.advance(5_000);
    resize();
    expect(host.written.stdout).toBe('');
    expect(clock.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('the plain view', () => {
  it('writes a line per event, and none for what waits', () => {
    const host = hostUnderTest();
    const view = new PlainView(host.stdout, new ManualClock(NOW));
    view.component({ name: 'runs', address: 'http://127.0.0.1:7703', state: { kind: 'ready' }, restarts: 0 });
    view.run(seen('r1', RunPhase.QUEUED, 3), false);
    view.run(seen('r0', RunPhase.SUCCEEDED, 3), true);
    view.run(seen('r1', RunPhase.SUCCEEDED, 3, { endTime: timestampFromMs(NOW - 3_958) }), false);
    view.run({ ...seen('r2', RunPhase.RUNNING, 245_000), missed: true }, false);
    expect(host.written.stdout.split('\n')).toEqual([
      '2026-11-21T12:00:00.000Z runs      ready at http://127.0.0.1:7703',
      '2026-11-21T12:00:00.000Z run       succeeded p/d/r1 command of p/d/settle fired 2026-11-21T11:59:55.000Z (3 ms late, took 42 ms)',
      '2026-11-21T12:00:00.000Z run       running p/d/r2 command of p/d/settle fired 2026-11-21T11:59:55.000Z (caught up, 4 m 05 s late)',
      '',
    ]);
  });
});
