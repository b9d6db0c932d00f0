import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Run, RunKindSchema, type RunPayload } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { printable, printableLines } from '../display-text.ts';
import { roughDuration } from '../duration.ts';
import { type Facts, factLines, payloadText } from '../facts.ts';
import { bothText } from '../instant.ts';
import { shortName } from '../resource-argument.ts';
import { runFacts } from '../schedules/schedule-details.ts';
import type { Style } from '../style.ts';
import { tookText } from './run-columns.ts';
import { paintPhase, phaseGlyph, phaseText } from './run-phase.ts';

/** A run on a screen: what it is, how it went, and what it left behind. */
export function runDetails(run: Run, style: Style, timeZone: string): string[] {
  const { nominalTime, fireTime, error } = run;
  const facts: Facts = [
    ['kind', RunKindSchema.value[run.kind]?.localName.toLowerCase().replaceAll('_', '-') ?? ''],
    ['schedule', run.schedule === '' ? '' : `${shortName(run.schedule)}, revision ${run.scheduleRevision}`],
    ['nominal time', bothText(nominalTime, timeZone)],
    ['fired', `${bothText(fireTime, timeZone)}${distanceText(nominalTime, fireTime)}`],
    ...runFacts(run.spec),
    ['attempt', run.attempt === 0 ? '' : String(run.attempt)],
    ['worker', printable(run.worker)],
    ['started', bothText(run.startTime, timeZone)],
    ['ended', bothText(run.endTime, timeZone)],
    ['took', tookText(run)],
    ['next attempt', bothText(run.nextAttemptTime, timeZone)],
    ['abort asked for', bothText(run.abortRequestTime, timeZone)],
    ['error', error === undefined ? '' : style.bad(printable(`${error.code}: ${error.message}`))],
  ];
  const output = outputLines(run.output);
  return [
    `${style.strong(shortName(run.name))}  ${paintPhase(style, `${phaseGlyph(run.phase)} ${phaseText(run.phase)}`, run.phase)}`,
    ...factLines(facts, style),
    ...(output.length === 0 ? [] : ['', style.faint('output'), ...output.map((line) => `  ${line}`)]),
  ];
}

function distanceText(nominal: Run['nominalTime'], fired: Run['fireTime']): string {
  if (nominal === undefined || fired === undefined) return '';
  const distance = timestampMs(fired) - timestampMs(nominal);
  return distance > 0 ? `, ${roughDuration(distance)} after` : '';
}

/** Structured output field by field, text as it is, anything else as its size. */
function outputLines(output: RunPayload | undefined): string[] {
  if (output?.content.case === 'values') {
    return Object.entries(output.content.value).flatMap(([key, value]) => {
      const text = typeof value === 'string' ? value.trimEnd() : JSON.stringify(value);
      const lines = printableLines(text).split('\n');
      return lines.length === 1
        ? [`${printable(key)}: ${lines[0]}`]
        : [`${printable(key)}:`, ...lines.map((line) => `  ${line}`)];
    });
  }
  if (output?.content.case === 'data' && /^(text\/|application\/json)/.test(output.contentType)) {
    return printableLines(new TextDecoder().decode(output.content.value).trimEnd()).split('\n');
  }
  const text = payloadText(output);
  return text === '' ? [] : [text];
}
