import { outputStyle } from '../../command-options.ts';
import type { Host } from '../../host.ts';
import { Board } from './board.ts';
import type { Component, DevView, SeenRun, UpcomingFire } from './dev-view.ts';
import { frameLines } from './frame.ts';
import { Screen } from './screen.ts';

/** Often enough for a bar to move smoothly; what has not changed is not drawn. */
const FRAME_MS = 200;

/** Draws everything on the terminal's alternate screen, a few times a second. */
export class LiveView implements DevView {
  readonly #host: Host;
  readonly #board = new Board();
  readonly #screen: Screen;
  readonly #hint: string;
  readonly #startedAt: number;
  readonly #release: (() => void)[] = [];
  #timer: { cancel(): void } | undefined;

  /** Takes the terminal. @param hint what the last line says. */
  constructor(host: Host, hint: string) {
    this.#host = host;
    this.#hint = hint;
    this.#screen = new Screen(host.stdout);
    this.#startedAt = host.clock.monotonic();
    this.#screen.open();
    this.#release.push(host.stdout.onResize(() => this.redraw()));
    this.#tick();
  }

  /** Draws every line anew. */
  redraw(): void {
    this.#screen.forget();
    this.#draw();
  }

  component(component: Component): void {
    this.#board.components.set(component.name, component);
    // Its line tells what it does now; that it died is worth knowing a little longer.
    if (component.state.kind === 'waiting')
      this.note(component.name, `${component.state.exit}; it is started again`);
  }

  note(source: string, text: string): void {
    this.#board.addNote({ atMs: this.#host.clock.now(), source, text });
  }

  upcoming(fires: readonly UpcomingFire[], schedules: number): void {
    this.#board.upcoming = fires;
    this.#board.schedules = schedules;
  }

  run(seen: SeenRun, history: boolean): void {
    this.#board.addRun(seen, history);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const release of this.#release.splice(0)) release();
    this.#screen.close();
  }

  #tick(): void {
    this.#draw();
    this.#timer = this.#host.clock.after(FRAME_MS, () => this.#tick());
  }

  #draw(): void {
    const { clock, stdout, timeZone } = this.#host;
    this.#screen.show(
      frameLines(this.#board, {
        ...stdout.size,
        nowMs: clock.now(),
        monotonicMs: clock.monotonic(),
        startedAt: this.#startedAt,
        style: outputStyle(this.#host),
        timeZone,
        hint: this.#hint,
      }),
    );
  }
}
