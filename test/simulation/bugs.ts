/** A deliberate fault, made by changing the source of a module as it is loaded: what the simulation must catch. */
export interface Bug {
  readonly name: string;
  /** The seed of a history that shows it: the first that `npm run simulate -- --bug NAME --histories 3000 --failures 1 --seed bug` finds. */
  readonly witness: string;
  /** The end of the module's path. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export const BUGS: readonly Bug[] = [
  {
    name: 'watermark-moved-early',
    witness: 'bug-0',
    file: '/services/scheduler/src/checkpoints.ts',
    find: 'for (const item of items) frontierMs = Math.min(frontierMs, item.dueMs - 1);',
    replace: '',
  },
  {
    name: 'epoch-not-checked',
    witness: 'bug-47',
    file: '/test/simulation/sim-database.ts',
    find: "if (!this.isHeldBy(flush)) return 'FENCED';",
    replace: '',
  },
  {
    name: 'cursor-by-sequence',
    witness: 'bug-0',
    file: '/test/simulation/sim-database.ts',
    find: 'if (version && !sees(since, version.xid)) ids.push(schedule.id);',
    replace: 'if (version && version.xid >= since.xmax) ids.push(schedule.id);',
  },
  {
    name: 'open-breaker-drops',
    witness: 'bug-55',
    file: '/services/scheduler/src/executor.ts',
    find: "this.#retry(slot, 'BREAKER_OPEN');",
    replace: 'this.#o.engine.settle(slot);',
  },
  {
    name: 'jitter-not-clamped',
    witness: 'bug-0',
    file: '/libs/core/src/jitter.ts',
    find: 'Math.min(jitterSeconds, slots.next(nominal) - nominal)',
    replace: 'jitterSeconds',
  },
  {
    name: 'stop-not-looked-at',
    witness: 'bug-43',
    file: '/services/scheduler/src/executor.ts',
    find: 'if (look && look.stop === null && look.revision === slot.revision) {',
    replace: 'if (look && look.revision === slot.revision) {',
  },
  {
    name: 'not-after-not-waited-for',
    witness: 'bug-639',
    file: '/services/scheduler/src/write-offs.ts',
    find: 'if (notAfterMs === 0 || this.#o.targetKnowsNotAfter) return notAfterMs;',
    replace: 'if (notAfterMs >= 0) return 0;',
  },
  {
    name: 'refused-rows-forgotten',
    witness: 'bug-0',
    file: '/services/scheduler/src/checkpoints.ts',
    find: 'this.#refused.set(schedule, { throughMs, settledAbove, sinceMs: this.#streams.advancedToMs });',
    replace:
      'const sinceMs = this.#streams.advancedToMs; this.#refused.set(schedule, { throughMs: sinceMs, settledAbove, sinceMs });',
  },
  {
    name: 'refusal-taken-for-all-copies',
    witness: 'bug-242',
    file: '/services/scheduler/src/executor.ts',
    find: 'this.#giveUp(slot, answer.verdict);',
    replace: 'slot.notAfterMs = 0; this.#giveUp(slot, answer.verdict);',
  },
  {
    name: 'crash-not-noticed-by-the-feed',
    witness: 'bug-700',
    file: '/services/scheduler/src/feed.ts',
    find: 'if (!this.#sessions.has(server.session)) {',
    replace: 'if (this.#sessions.size === 0) {',
  },
  {
    name: 'wall-clock-believed',
    witness: 'bug-0',
    file: '/services/scheduler/src/database-clock.ts',
    find: 'return this.#readingMs + (this.#clock.monotonic() - this.#arrivedAtMs) * (1 - MAX_DRIFT);',
    replace: 'return this.#clock.now();',
  },
  {
    name: 'redrive-sent-past-a-stop',
    witness: 'bug-363',
    file: '/services/scheduler/src/executor.ts',
    find: 'stopsFromMs: slot.redrive?.requestMs,',
    replace: 'stopsFromMs: slot.redrive && Number.MAX_SAFE_INTEGER,',
  },
  {
    name: 'redrive-forgotten-by-a-failed-write',
    witness: 'bug-700',
    file: '/services/scheduler/src/redrives.ts',
    find: 'this.#settled.unshift(...part, ...parts.flat());',
    replace: '',
  },
  {
    name: 'pause-counted-from-its-first-second',
    witness: 'bug-29',
    file: '/services/scheduler/src/ended-pauses.ts',
    find: 'recurrence.between(pause.fromMs / 1000, pause.toMs / 1000)',
    replace: 'recurrence.between(pause.fromMs / 1000 + 1, pause.toMs / 1000)',
  },
  {
    name: 'skipped-taken-for-fired',
    witness: 'bug-0',
    file: '/services/scheduler/src/executor.ts',
    find: 'ledger.add({ ...firedRow(slot, runId, created), ...OVERLAPPED });',
    replace: '',
  },
  {
    name: 'probe-believes-any-run',
    witness: 'bug-12',
    file: '/services/scheduler/src/slot-probe.ts',
    find: 'if (run && isAskedRun(run, asked))',
    replace: 'if (run)',
  },
  {
    name: 'several-slots-in-flight',
    witness: 'bug-0',
    file: '/services/scheduler/src/engine.ts',
    find: 'const isBarred = isExclusive(streams.table.timing[stream]!) && !this.#isNext(stream);',
    replace: 'const isBarred = false;',
  },
  {
    name: 'one-missed-slot-too-many',
    witness: 'bug-171',
    file: '/services/scheduler/src/missed-slots.ts',
    find: "return timing.catchUpPolicy === 'LATEST' ? 1 : timing.catchUpLimit;",
    replace: "return (timing.catchUpPolicy === 'LATEST' ? 1 : timing.catchUpLimit) + 1;",
  },
  {
    name: 'settled-slots-lose-their-place',
    witness: 'bug-2040',
    file: '/services/scheduler/src/missed-slots.ts',
    find: 'kept += countMissed(span, { after: afterMs, through: aboveMs }, liveOf(span), limit - kept);',
    replace: '',
  },
  {
    name: 'quarantine-taken-for-led',
    witness: 'bug-189',
    file: '/services/scheduler/src/engine.ts',
    find: 'this.#quarantines.liveOf(schedule, span, live, quarantined);',
    replace: 'live;',
  },
  {
    name: 'quarantine-forgotten-by-the-next-leader',
    witness: 'bug-189',
    file: '/services/scheduler/src/engine.ts',
    find: 'this.#quarantines.liveOf(schedule, span, live, quarantined);',
    replace: 'this.#quarantines.liveOf(schedule, span, live, quarantined.slice(0, 0));',
  },
  {
    name: 'unreadable-given-up-early',
    witness: 'bug-1159',
    file: '/services/scheduler/src/held-spans.ts',
    find: 'return toMs + jitterMs + catchUpWindowMs;',
    replace: 'return toMs + jitterMs;',
  },
  {
    name: 'live-slot-taken-for-missed',
    witness: 'bug-16',
    file: '/libs/core/src/live-terms.ts',
    find: 'export const LIVE_GAP_MS = 10_000;',
    replace: 'export const LIVE_GAP_MS = 0;',
  },
  {
    name: 'repeated-hour-fired-once',
    witness: 'bug-19',
    file: '/libs/core/src/recurrence-wall.ts',
    find: "(pattern.fixedTimes ? 'FIRST' : 'BOTH')",
    replace: "(pattern.fixedTimes ? 'FIRST' : 'FIRST')",
  },
  {
    name: 'gap-moved-by-its-length-always',
    witness: 'bug-145',
    file: '/libs/core/src/recurrence-wall.ts',
    find: "gap === 'AUTO' && pattern.fixedTimes ? 'NEXT_VALID' : gap",
    replace: "gap === 'AUTO' && pattern.fixedTimes ? 'SHIFT' : gap",
  },
  {
    name: 'exclusions-ignored',
    witness: 'bug-1',
    file: '/libs/core/src/recurrence-bounded.ts',
    find: 'if (Number.isNaN(until)) return slot;',
    replace: 'return slot;',
  },
  {
    name: 'older-leases-ignored',
    witness: 'bug-35',
    file: '/test/simulation/sim-leases.ts',
    find: 'const older = this.#older(claim);',
    replace: 'const older: LeaseRow[] = [];',
  },
];
