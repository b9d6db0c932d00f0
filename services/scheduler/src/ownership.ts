import {
  type Assignment,
  type SchedulePlace,
  type ShardScope,
  scopeOf,
  shardOf,
  type UnitKey,
  unitOf,
} from '@carillon/core/assignment.ts';
import type { DueRange } from '@carillon/core/due-ranges.ts';
import { liveRanges } from '@carillon/core/live-terms.ts';
import type { QuarantinedTime } from '@carillon/db/tables/schedule-quarantines.ts';
import type { TermRow } from '@carillon/db/tables/scheduler-leases.ts';
import type { QuarantineStretch } from './quarantine-times.ts';
import type { Belonging } from './schedule-records.ts';

/** Whose the schedules of a term are, and were. */
export interface OwnershipOptions {
  readonly assignment: Assignment;
  /** All assignments up to that one, in any order. */
  readonly history: readonly Assignment[];
  readonly shard: string;
  /** The terms before this one: of its shard, and of every shard under earlier versions. */
  readonly earlier: readonly TermRow[];
  /** When its schedules were in quarantine. */
  readonly quarantined: readonly QuarantinedTime[];
  /** When this term began, in epoch milliseconds by the database's clock. */
  readonly readyMs: number;
  /** Whether it began in another database than the terms before: they may have gone on for longer than `earlier` says. */
  readonly isOtherDatabase: boolean;
}

/**
 * What a term owns, and who led its schedules before: a slot is live if it fell due while the shard was led that its schedule belonged to at
 * the time. Schedules that have been in the same shards ever since share one answer.
 */
export class Ownership implements Belonging {
  readonly scope: ShardScope;
  readonly #o: OwnershipOptions;
  /** The versions under which a term may still matter, oldest first. The last one is the present one. */
  readonly #versions: readonly Assignment[];
  readonly #termsOf = new Map<string, TermRow[]>();
  readonly #live = new Map<string, readonly DueRange[]>();
  readonly #quarantined: ReadonlyMap<number, readonly QuarantinedTime[]>;

  constructor(options: OwnershipOptions) {
    const { assignment, history, shard, earlier, quarantined } = options;
    this.#o = options;
    this.scope = scopeOf(assignment, shard);
    const versions = new Set(earlier.map(({ version }) => version));
    this.#versions = history
      .filter(({ version }) => version < assignment.version && versions.has(version))
      .sort((a, b) => a.version - b.version);
    this.#quarantined = Map.groupBy(quarantined, ({ schedule }) => schedule);
    for (const term of earlier) {
      const key = keyOf(term);
      const terms = this.#termsOf.get(key);
      if (terms) terms.push(term);
      else this.#termsOf.set(key, [term]);
    }
  }

  /** Slots up to this time, in epoch milliseconds, may have been sent by an earlier leader; -Infinity: there was none. */
  get sentBeforeMs(): number {
    if (this.#o.isOtherDatabase) return this.#o.readyMs;
    return this.#o.earlier.reduce((latest, { endMs }) => Math.max(latest, endMs), Number.NEGATIVE_INFINITY);
  }

  unitOf(place: SchedulePlace): UnitKey {
    return unitOf(this.scope.strategy, place);
  }

  quarantinedOf(id: number): readonly QuarantineStretch[] {
    const times = this.#quarantined.get(id) ?? [];
    return times.map(({ fromMs, toMs, throughSpan }) => ({
      after: fromMs,
      through: toMs,
      throughSpan: throughSpan ?? Number.POSITIVE_INFINITY,
    }));
  }

  liveOf(place: SchedulePlace): readonly DueRange[] {
    const { assignment, shard, readyMs } = this.#o;
    const leases = this.#versions.map((each) =>
      keyOf({ version: each.version, shard: shardOf(each, place) }),
    );
    leases.push(keyOf({ version: assignment.version, shard }));
    const chain = leases.join(' ');
    let live = this.#live.get(chain);
    if (live === undefined) {
      live = liveRanges(
        leases.flatMap((lease) => this.#termsOf.get(lease) ?? []),
        readyMs,
      );
      this.#live.set(chain, live);
    }
    return live;
  }
}

function keyOf({ version, shard }: Pick<TermRow, 'version' | 'shard'>): string {
  return `${version}/${shard}`;
}
