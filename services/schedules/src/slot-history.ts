import type { SchedulePlace } from '@carillon/core/assignment.ts';
import { hashSlot } from '@carillon/core/hash-slot.ts';
import { rateAnchorSec } from '@carillon/core/schedule-spec.ts';
import { inPoolSnapshot } from '@carillon/db/snapshot.ts';
import type { ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import {
  type RecordedOutcome,
  readRecordedOutcomes,
  readRedriveTimes,
  readSlotSettlement,
  type SlotSettlement,
} from '@carillon/db/tables/slot-outcomes.ts';
import { type DeadSlot, insertRedrives, readDeadSlots } from '@carillon/db/tables/slot-redrives.ts';
import { readSlotSpans } from '@carillon/db/tables/slot-spans.ts';
import type pg from 'pg';
import { nameOf } from './schedule-message.ts';
import { accountOf, maybeHasRun, recordOf, type SlotAccount } from './slot-account.ts';
import { MAX_SOUGHT, type SlotRun, type SlotRuns } from './slot-runs.ts';
import { type WalkedSlot, type WalkRange, walkSlots } from './slot-walk.ts';

/** A slot with what became of it. */
export interface AccountedSlot {
  readonly slot: WalkedSlot;
  readonly account: SlotAccount;
  /** When its redrive was asked for, in epoch milliseconds; undefined: none is under way. */
  readonly redriveMs: number | undefined;
}

/** Which slots to account for. */
export interface SlotsPage extends WalkRange {
  readonly limit: number;
  /** Only slots with one of these outcomes; undefined: all. */
  readonly outcomes: ReadonlySet<SlotAccount['outcome']> | undefined;
}

/** Slots that a page looks at, at most, to find those it is to show. */
const MAX_LOOKED_AT = 2_000;
const SPANS_PER_PAGE = 500;

/** What became of slots: spans, slot ledger and runs taken together. */
export class SlotHistory {
  readonly #pool: pg.Pool;
  readonly #runs: SlotRuns;
  readonly #announce: () => void;

  /** @param announce told after every commit of new redrives */
  constructor(pool: pg.Pool, runs: SlotRuns, announce: () => void) {
    this.#pool = pool;
    this.#runs = runs;
    this.#announce = announce;
  }

  /** How far a schedule is settled. */
  async settlement(view: ScheduleView): Promise<SlotSettlement> {
    return await readSlotSettlement(this.#pool, view.id, placeOf(view));
  }

  /**
   * A page of slots, and the nominal time in epoch seconds beyond which the next one begins; undefined: there is none.
   * `pageOf` says which, by the database's clock in epoch milliseconds.
   *
   * @throws {DomainError} FAILED_PRECONDITION (UNUSABLE_SPEC), UNAVAILABLE (RUNS_UNREACHABLE)
   */
  async page(
    view: ScheduleView,
    pageOf: (nowMs: number) => SlotsPage,
  ): Promise<{ readonly slots: readonly AccountedSlot[]; readonly next: number | undefined }> {
    // In one snapshot: a span that was committed in between could be told as settled by a watermark that knows nothing of it.
    const { settlement, page, spans } = await inPoolSnapshot(this.#pool, async (client) => {
      const settlement = await readSlotSettlement(client, view.id, placeOf(view));
      const page = pageOf(settlement.nowMs);
      const spans = await readSlotSpans(client, view.id, { ...page, limit: SPANS_PER_PAGE });
      return { settlement, page, spans };
    });
    const { limit, outcomes, descending } = page;
    // Whoever has spans was activated.
    const walk = walkSlots(nameOf(view), rateAnchorSec((view.anchor_micros ?? 0) / 1000), spans, page);
    const slots: AccountedSlot[] = [];
    let place: number | undefined;
    let lookedAt = 0;
    while (slots.length < limit && lookedAt < MAX_LOOKED_AT) {
      // One more than is shown tells whether there are more.
      const size = outcomes === undefined ? Math.min(MAX_SOUGHT, limit - slots.length + 1) : MAX_SOUGHT;
      const chunk = take(walk, size);
      lookedAt += chunk.length;
      for (const accounted of await this.#accounts(view, settlement, chunk)) {
        if (slots.length === limit) return { slots, next: place };
        place = accounted.slot.nominalSec;
        if (outcomes?.has(accounted.account.outcome) ?? true) slots.push(accounted);
      }
      if (chunk.length < size) {
        const last = spans.at(-1);
        if (spans.length < SPANS_PER_PAGE || last === undefined) return { slots, next: undefined };
        // Every slot of these spans was looked at, and there are further spans.
        return {
          slots,
          next: descending ? Math.floor(last.fromMs / 1000) + 1 : Math.floor((last.toMs ?? 0) / 1000),
        };
      }
    }
    const isLast = walk.next().done === true && spans.length < SPANS_PER_PAGE;
    return { slots, next: isLast ? undefined : place };
  }

  /** The dead slots of a schedule; see `readDeadSlots`. */
  async dead(view: ScheduleView, range: Parameters<typeof readDeadSlots>[2]): Promise<DeadSlot[]> {
    return await readDeadSlots(this.#pool, view.id, range);
  }

  /** Asks schedulers for redrives. */
  async redrive(view: ScheduleView, slots: readonly DeadSlot[], actor: string): Promise<void> {
    await insertRedrives(this.#pool, view.id, slots, actor);
    this.#announce();
  }

  async #accounts(
    view: ScheduleView,
    settlement: SlotSettlement,
    slots: readonly WalkedSlot[],
  ): Promise<AccountedSlot[]> {
    if (slots.length === 0) return [];
    const nominals = slots.map((slot) => slot.nominalSec * 1000);
    const [fromMs, throughMs] = [Math.min(...nominals), Math.max(...nominals)];
    // Redrives before the ledger: one that ends in between shows as fired, never as dead without a redrive.
    const redrives = await readRedriveTimes(this.#pool, view.id, fromMs, throughMs);
    const rows = await readRecordedOutcomes(this.#pool, view.id, fromMs, throughMs);
    const records = new Map<WalkedSlot, RecordedOutcome | undefined>(
      slots.map((slot) => [slot, recordOf(slot, rows)]),
    );
    const sought = slots.filter((slot) => maybeHasRun(slot, records.get(slot), settlement.nowMs));
    const found = await this.#runs.find(
      nameOf(view),
      view.uid,
      sought.map(({ nominalSec, span }) => ({ nominalSec, task: span.task })),
    );
    const runs = new Map<WalkedSlot, SlotRun | undefined>(sought.map((slot, index) => [slot, found[index]]));
    return slots.map((slot) => ({
      slot,
      account: accountOf(slot, records.get(slot), runs.get(slot), settlement),
      redriveMs: redrives.get(slot.nominalSec * 1000),
    }));
  }
}

function placeOf({ project, domain, schedule_id: scheduleId }: ScheduleView): SchedulePlace {
  return { hashSlot: hashSlot({ project, domain, scheduleId }), project, domain };
}

function take<T>(items: Iterator<T>, count: number): T[] {
  const taken: T[] = [];
  while (taken.length < count) {
    const next = items.next();
    if (next.done) break;
    taken.push(next.value);
  }
  return taken;
}
