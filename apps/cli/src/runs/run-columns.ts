import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { printable } from '../display-text.ts';
import { roughDuration } from '../duration.ts';
import { utcText } from '../instant.ts';
import { shortName } from '../resource-argument.ts';
import type { Style } from '../style.ts';
import type { Column } from '../table.ts';
import { paintPhase, phaseGlyph, phaseText } from './run-phase.ts';

/** The columns of a table of runs. */
export function runColumns(style: Style): Column<Run>[] {
  return [
    {
      title: 'PHASE',
      cell: ({ phase }) => `${phaseGlyph(phase)} ${phaseText(phase)}`,
      paint: (text, { phase }) => paintPhase(style, text, phase),
    },
    { title: 'RUN', cell: ({ name }) => shortName(name), flexible: true },
    { title: 'TASK', cell: ({ spec }) => printable(spec?.task ?? ''), flexible: true },
    {
      title: 'SCHEDULE',
      cell: ({ schedule }) => (schedule === '' ? '–' : shortName(schedule)),
      flexible: true,
    },
    { title: 'NOMINAL', cell: ({ nominalTime }) => utcText(nominalTime) },
    { title: 'TRY', cell: ({ attempt }) => String(attempt), align: 'right' },
    { title: 'TOOK', cell: tookText, align: 'right', paint: (text) => style.faint(text) },
  ];
}

/** How long the last attempt took; empty unless it has ended. */
export function tookText({ startTime, endTime }: Run): string {
  return startTime === undefined || endTime === undefined
    ? ''
    : roughDuration(timestampMs(endTime) - timestampMs(startTime));
}
