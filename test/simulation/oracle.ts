import { identityHash, mixHash } from '@carillon/core/cron/identity-hash.ts';
import { type SimPattern, type SimSpec, ZONES } from './sim-spec.ts';

/** A slot as the oracle finds it. */
export interface OracleSlot {
  /** Whole epoch seconds. */
  readonly nominal: number;
  /** Epoch milliseconds. */
  readonly dueMs: number;
}

/** What the oracle must know of a schedule's revision. */
export interface OracleTiming {
  readonly spec: SimSpec;
  /** The anchor of a rate without a start, in whole epoch seconds. */
  readonly anchor: number;
  /** `project/domain/schedule`: what jitter is hashed from. */
  readonly identity: string;
}

/**
 * The slots after `fromMs` and up to `toMs`, by looking at each second in between. It shares nothing with the recurrence code that it
 * judges, but for the hash that jitter is defined by.
 */
export function slotsOf(timing: OracleTiming, fromMs: number, toMs: number): OracleSlot[] {
  const slots: OracleSlot[] = [];
  for (let second = Math.floor(fromMs / 1000); second * 1000 <= toMs; second++) {
    if (second * 1000 > fromMs && isSlot(timing, second))
      slots.push({ nominal: second, dueMs: dueMs(timing, second) });
  }
  return slots;
}

/** Whether a second is a slot of the timing, spans aside. */
export function isSlot({ spec, anchor }: OracleTiming, second: number): boolean {
  if (spec.start !== undefined && second < spec.start) return false;
  if (spec.end !== undefined && second > spec.end) return false;
  return matches(spec.pattern, spec.start ?? anchor, second);
}

function matches(pattern: SimPattern, anchor: number, second: number): boolean {
  switch (pattern.kind) {
    case 'rate':
      return second >= anchor && (second - anchor) % pattern.every === 0;
    case 'cron': {
      const local = second + ZONES[pattern.zone];
      return (
        pattern.seconds.includes(local % 60) &&
        (pattern.minutes.length === 0 || pattern.minutes.includes(Math.floor(local / 60) % 60))
      );
    }
    case 'at':
      return second === pattern.at;
    case 'corrupt':
      return false;
  }
}

function dueMs(timing: OracleTiming, nominal: number): number {
  const { jitterSec } = timing.spec;
  if (jitterSec === 0) return nominal * 1000;
  let widthSec = jitterSec;
  for (let next = nominal + 1; next < nominal + jitterSec; next++) {
    if (isSlot(timing, next)) {
      widthSec = next - nominal;
      break;
    }
  }
  const high = Math.floor(nominal / 2 ** 32);
  const hash = mixHash(identityHash(timing.identity, 'jitter') ^ mixHash((nominal >>> 0) ^ mixHash(high)));
  return nominal * 1000 + Math.floor((hash / 2 ** 32) * widthSec * 1000);
}
