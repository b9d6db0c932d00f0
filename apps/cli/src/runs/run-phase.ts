import { type Run, RunPhase, RunPhaseSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Style } from '../style.ts';

/** `queued`, `running`, `succeeded`, … */
export function phaseText(phase: RunPhase): string {
  return RunPhaseSchema.value[phase]?.localName.toLowerCase().replaceAll('_', ' ') ?? `phase ${phase}`;
}

/** One character for a phase. */
export function phaseGlyph(phase: RunPhase): string {
  switch (phase) {
    case RunPhase.BUFFERED:
      return '◌';
    case RunPhase.QUEUED:
      return '○';
    case RunPhase.RUNNING:
      return '◐';
    case RunPhase.SUCCEEDED:
      return '✓';
    case RunPhase.FAILED:
      return '✗';
    case RunPhase.ABORTED:
      return '■';
    case RunPhase.TIMED_OUT:
      return '⧗';
    case RunPhase.SKIPPED:
      return '–';
    default:
      return '?';
  }
}

/** Colours a text by a run's phase. */
export function paintPhase(style: Style, text: string, phase: RunPhase): string {
  switch (phase) {
    case RunPhase.SUCCEEDED:
      return style.good(text);
    case RunPhase.FAILED:
    case RunPhase.TIMED_OUT:
      return style.bad(text);
    case RunPhase.ABORTED:
      return style.warn(text);
    case RunPhase.RUNNING:
      return style.accent(text);
    default:
      return style.faint(text);
  }
}

/** True for phases that nothing leaves. */
export function isTerminal({ phase }: Run): boolean {
  return phase >= RunPhase.SUCCEEDED;
}
