import type { RecordedOutcome, SlotSettlement } from '@carillon/db/tables/slot-outcomes.ts';
import type { SlotRun } from './slot-runs.ts';
import type { WalkedSlot } from './slot-walk.ts';

/** What became of a slot, and how that is known. */
export interface SlotAccount {
  readonly outcome: 'PENDING' | 'FIRED' | 'SKIPPED' | 'MISSED' | 'DEAD' | 'UNKNOWN';
  /** A stable code in UPPER_SNAKE_CASE; may be empty for `FIRED`. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
  /** The ledger row that says so. */
  readonly record?: RecordedOutcome;
  readonly run?: SlotRun;
}

/** A slot that fell due more recently than this is not said to be late. */
const IN_PROGRESS_MS = 10_000;

/**
 * The ledger row that holds for a slot: `FIRED` before any other, since a redrive is the only change of an outcome; a row of its own before one
 * of many slots; then the latest.
 */
export function recordOf(slot: WalkedSlot, records: readonly RecordedOutcome[]): RecordedOutcome | undefined {
  const nominalMs = slot.nominalSec * 1000;
  let best: RecordedOutcome | undefined;
  for (const record of records) {
    if (record.nominalMs > nominalMs || record.lastNominalMs < nominalMs) continue;
    if (record.slots !== 1 && record.revision !== slot.span.revision) continue;
    if (best === undefined || rank(record) >= rank(best)) best = record;
  }
  return best;
}

/**
 * Whether the runs service must be asked for a slot: it may have been sent, and no record speaks of it alone. What one says of many slots
 * does not hold for those of them that turned out to have a run.
 */
export function maybeHasRun(
  { dueMs, span }: WalkedSlot,
  record: RecordedOutcome | undefined,
  nowMs: number,
): boolean {
  return span.state === 'ACTIVE' && dueMs <= nowMs && (record === undefined || record.slots !== 1);
}

/** What became of a slot, from its record and its run, if there are any. */
export function accountOf(
  slot: WalkedSlot,
  record: RecordedOutcome | undefined,
  run: SlotRun | undefined,
  settlement: SlotSettlement,
): SlotAccount {
  const { span } = slot;
  if (run?.skipped) {
    return {
      outcome: 'SKIPPED',
      reason: 'OVERLAP',
      message: run.message || 'another run of its schedule was still going',
      run,
    };
  }
  if (run !== undefined) return { outcome: 'FIRED', reason: '', message: '', run };
  if (record !== undefined) {
    const { outcome, message } = record;
    // How a run came about is for the record of a redrive alone.
    const reason = outcome === 'FIRED' && record.reason !== 'REDRIVEN' ? '' : record.reason;
    return { outcome, reason, message, record };
  }
  if (span.state === 'PAUSED') {
    return slot.nominalSec * 1000 <= settlement.nowMs
      ? { outcome: 'SKIPPED', reason: 'PAUSED', message: 'the schedule was paused' }
      : { outcome: 'PENDING', reason: 'PAUSED', message: 'the schedule is paused, and fires when that ends' };
  }
  return unsettled(slot, settlement);
}

function unsettled(slot: WalkedSlot, settlement: SlotSettlement): SlotAccount {
  const { dueMs, span } = slot;
  const { nowMs, quarantineReason, led, throughMs, lags } = settlement;
  const pending = (reason: string, message: string): SlotAccount => ({ outcome: 'PENDING', reason, message });
  if (isSettled(slot, settlement)) {
    const message = 'it was settled, and neither a run nor a record of it is kept any more';
    return { outcome: 'UNKNOWN', reason: 'NOT_KEPT', message };
  }
  if (span.stop !== null) {
    return pending(
      'STOPPED',
      `the schedule was ${span.stop.toLowerCase()} before it was sent, and it is about to be skipped`,
    );
  }
  if (quarantineReason !== null) return pending('QUARANTINED', quarantineReason);
  if (dueMs > nowMs) return pending('NOT_DUE', 'it is not due yet');
  if (!led) return pending('NO_LEADER', 'no scheduler leads');
  if (dueMs > nowMs - IN_PROGRESS_MS) return pending('IN_PROGRESS', 'it has just fallen due');
  const through = throughMs === null ? 'nothing' : `up to ${new Date(throughMs).toISOString()}`;
  return pending(
    'BEHIND',
    `${lags ? 'its schedule' : 'the scheduler'} has settled ${through}: it waits for its turn, or is being retried`,
  );
}

function isSettled({ dueMs, span }: WalkedSlot, { throughMs, settledAbove, lags }: SlotSettlement): boolean {
  if (span.frontierMs === null || throughMs === null) return false;
  // Of several frontiers, the furthest may not know of this span; a watermark of the schedule's own goes for all that are known.
  return (
    dueMs <= (lags ? throughMs : Math.min(throughMs, span.frontierMs)) ||
    settledAbove.some(([after, through]) => dueMs > after && dueMs <= through)
  );
}

function rank(record: RecordedOutcome): number {
  if (record.outcome === 'FIRED') return 2;
  return record.slots === 1 ? 1 : 0;
}
