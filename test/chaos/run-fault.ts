import { setTimeout as delay } from 'node:timers/promises';
import { faultsOf } from '../support/slot-checker.ts';
import type { Fault, FaultReport, Length } from './fault.ts';
import { Random } from './random.ts';
import { describeFaults, Scenario } from './scenario.ts';

/** What came of a fault. */
export interface FaultResult {
  readonly fault: string;
  readonly seed: number;
  readonly slots: number;
  readonly runs: number;
  readonly writtenOff: number;
  readonly lost: number;
  readonly doubled: number;
  readonly early: number;
  readonly worstLatenessMs: number;
  readonly handoverGapsMs: readonly number[];
  readonly figures: Readonly<Record<string, number>>;
  /** What does not hold; empty when all does. */
  readonly problems: readonly string[];
}

/** What is due after a fault must still be on time: so many seconds of it are judged too. */
const AFTERMATH_MS = 2_000;

/** Sets a system up, lets the fault happen, waits until all is settled, and judges every slot. */
export async function runFault(fault: Fault, length: Length, seed: number): Promise<FaultResult> {
  await using scenario = await Scenario.start(fault.setUp ?? {}, new Random(seed));
  const problems: string[] = [];
  const report: FaultReport = await fault.run(scenario, length).catch((error: unknown) => {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return { latenessLimitMs: Number.POSITIVE_INFINITY };
  });
  await delay(AFTERMATH_MS);
  const verdict = await scenario.judge(Math.floor(scenario.now() / 1000) * 1000);
  await scenario.checkWatermarks().catch((error: unknown) => problems.push(String(error)));

  const { latenessLimitMs, handoverGapsMs = [], mayWriteOff = false, figures = {} } = report;
  if (faultsOf(verdict).length > 0) problems.push(describeFaults(verdict));
  if (verdict.writtenOff > 0 && !mayWriteOff)
    problems.push(`${verdict.writtenOff} slots were settled without a run`);
  const worstLatenessMs = Math.round(verdict.latenessMs.at(-1) ?? 0);
  if (worstLatenessMs > latenessLimitMs) {
    problems.push(`a run was ${worstLatenessMs} ms late, of ${Math.round(latenessLimitMs)} ms allowed`);
  }
  if (problems.length === 0) scenario.stack.succeeded();
  return {
    fault: fault.name,
    seed,
    slots: verdict.slots,
    runs: verdict.runs,
    writtenOff: verdict.writtenOff,
    lost: verdict.lost.length,
    doubled: verdict.doubled.length,
    early: verdict.early.length,
    worstLatenessMs,
    handoverGapsMs,
    figures,
    problems,
  };
}
