/** A deliberate fault, made by changing the source of a module as it is loaded: what the simulation must catch. */
export interface Bug {
  readonly name: string;
  /** The end of the module's path. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export const BUGS: readonly Bug[] = [
  {
    name: 'watermark-moved-early',
    file: '/services/scheduler/src/engine.ts',
    find: 'if (lagging[item.schedule] === 0) frontierMs = Math.min(frontierMs, item.dueMs - 1);',
    replace: '',
  },
  {
    name: 'epoch-not-checked',
    file: '/test/simulation/sim-database.ts',
    find: 'if (!this.isHeldBy(flush)) return false;',
    replace: '',
  },
  {
    name: 'cursor-by-sequence',
    file: '/test/simulation/sim-database.ts',
    find: 'if (version && !sees(since, version.xid)) ids.push(schedule.id);',
    replace: 'if (version && version.xid >= since.xmax) ids.push(schedule.id);',
  },
  {
    name: 'open-breaker-drops',
    file: '/services/scheduler/src/executor.ts',
    find: "this.#retry(slot, 'BREAKER_OPEN');",
    replace: 'this.#o.engine.settle(slot);',
  },
  {
    name: 'jitter-not-clamped',
    file: '/libs/core/src/jitter.ts',
    find: 'Math.min(jitterSeconds, slots.next(nominal) - nominal)',
    replace: 'jitterSeconds',
  },
  {
    name: 'stop-not-looked-at',
    file: '/services/scheduler/src/executor.ts',
    find: 'if (look && look.stop === null && look.revision === slot.revision) {',
    replace: 'if (look && look.revision === slot.revision) {',
  },
  {
    name: 'not-after-not-waited-for',
    file: '/services/scheduler/src/write-offs.ts',
    find: 'return Math.max(earlier, writeOff.notAfterMs, this.#sentBeforeNotAfterMs(waiting));',
    replace: 'return 0;',
  },
  {
    name: 'refusal-taken-for-all-copies',
    file: '/services/scheduler/src/executor.ts',
    find: 'this.#giveUp(slot, answer.verdict);',
    replace: 'slot.notAfterMs = 0; this.#giveUp(slot, answer.verdict);',
  },
  {
    name: 'crash-not-noticed-by-the-feed',
    file: '/services/scheduler/src/feed.ts',
    find: 'if (!this.#sessions.has(server.session)) {',
    replace: 'if (this.#sessions.size === 0) {',
  },
  {
    name: 'wall-clock-believed',
    file: '/services/scheduler/src/database-clock.ts',
    find: 'return this.#readingMs + (this.#clock.monotonic() - this.#arrivedAtMs) * (1 - MAX_DRIFT);',
    replace: 'return this.#clock.now();',
  },
];
