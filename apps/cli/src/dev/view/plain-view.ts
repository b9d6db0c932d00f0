import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Clock } from '@carillon/core/clock.ts';
import { RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { pad, printable } from '../../display-text.ts';
import { roughDuration } from '../../duration.ts';
import type { Output } from '../../host.ts';
import { shortName } from '../../resource-argument.ts';
import { tookText } from '../../runs/run-columns.ts';
import { phaseText } from '../../runs/run-phase.ts';
import { type Component, type DevView, type SeenRun, stateWords } from './dev-view.ts';

/** One line per event, for logs and pipes: UTC time, source, text. */
export class PlainView implements DevView {
  readonly #output: Output;
  readonly #clock: Clock;

  constructor(output: Output, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  component(component: Component): void {
    const ready = component.state.kind === 'ready' && component.address !== '';
    this.note(
      component.name,
      `${stateWords(component, this.#clock.monotonic())}${ready ? ` at ${component.address}` : ''}`,
    );
  }

  note(source: string, text: string): void {
    this.#output.write(`${new Date(this.#clock.now()).toISOString()} ${pad(source, 9)} ${printable(text)}\n`);
  }

  upcoming(): void {
    // A log that repeats what has not happened yet is noise.
  }

  run({ run, latenessMs, missed }: SeenRun, history: boolean): void {
    // Start and end are worth a line; that it waits for a worker for some milliseconds is not.
    if (history || run.phase === RunPhase.QUEUED) return;
    const fired =
      run.fireTime === undefined ? '' : ` fired ${new Date(timestampMs(run.fireTime)).toISOString()}`;
    const facts = [
      missed ? 'caught up' : '',
      latenessMs === undefined ? '' : `${roughDuration(latenessMs)} late`,
      tookText(run) === '' ? '' : `took ${tookText(run)}`,
      run.error === undefined ? '' : `${run.error.code}: ${run.error.message}`,
    ].filter((fact) => fact !== '');
    const owner = run.schedule === '' ? '' : ` of ${shortName(run.schedule)}`;
    this.note(
      'run',
      `${phaseText(run.phase)} ${shortName(run.name)} ${run.spec?.task ?? ''}${owner}${fired}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`,
    );
  }

  close(): void {
    // Nothing was taken that would have to be given back.
  }
}
