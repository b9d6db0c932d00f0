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
import { readSlotSpans, type SlotSpan } from '@carillon/db/tables/slot-spans.ts';
import type pg from 'pg';
import { nameOf } from './schedule-message.ts';
import { accountOf, maybeHasRun, recordOf, type SlotAccount } from './slot-account.ts';
import { MAX_SOUGHT, type SlotRun, type SlotRuns } from './slot-runs.ts';
import { type UnreadableSpan, type WalkedSlot, type WalkRange, walkSlots } from './slot-walk.ts';

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

/** A page of slots. */
export interface AccountedPage {
  readonly slots: readonly AccountedSlot[];
  /** What could not be read between the page's slots, in their order. */
  readonly unreadable: readonly UnreadableSpan[];
  /** The nominal time in epoch seconds beyond which the next page begins; undefined: there is none. */
  readonly next: number | undefined;
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
   * A page of slots. `pageOf` says which, by the database's clock in epoch milliseconds.
   *
   * @throws {DomainError} UNAVAILABLE (RUNS_UNREACHABLE)
   */
  async page(view: ScheduleView, pageOf: (nowMs: number) => SlotsPage): Promise<AccountedPage> {
    // In one snapshot: a span that was committed in between could be told as settled by a watermark that knows nothing of it.
    const { settlement, page, spans } = await inPoolSnapshot(this.#pool, async (client) => {
      const settlement = await readSlotSettlement(client, view.id, placeOf(view));
      const page = pageOf(settlement.nowMs);
      const spans = await readSlotSpans(client, view.id, { ...page, limit: SPANS_PER_PAGE });
      return { settlement, page, spans };
    });
    const unreadable: UnreadableSpan[] = [];
    // Whoever has spans was activated.
    const anchorSec = rateAnchorSec((view.anchor_micros ?? 0) / 1000);
    const walk = walkSlots(nameOf(view), anchorSec, spans, page, (span) => unreadable.push(span));
    const { slots, next } = await this.#walked(view, settlement, page, spans, walk);
    return { slots, unreadable: unreadable.filter(({ span }) => isCovered(span, page, next)), next };
  }

  /** The slots of a page, along a walk over spans of which there may be more. */
  async #walked(
    view: ScheduleView,
    settlement: SlotSettlement,
    { limit, outcomes, descending }: SlotsPage,
    spans: readonly SlotSpan[],
    walk: Iterator<WalkedSlot>,
  ): Promise<Pick<AccountedPage, 'slots' | 'next'>> {
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

/** Whether a span reaches into what a page covers: up to where the next one begins. In whole seconds, as slots are. */
function isCovered(
  { fromMs, toMs }: SlotSpan,
  { afterSec, throughSec, descending }: WalkRange,
  next: number | undefined,
): boolean {
  const first = Math.floor(fromMs / 1000) + 1;
  const last = Math.floor((toMs ?? Number.POSITIVE_INFINITY) / 1000);
  const from = Math.max(afterSec + 1, descending ? (next ?? afterSec + 1) : afterSec + 1);
  const through = Math.min(throughSec, descending ? throughSec : (next ?? throughSec));
  return Math.max(first, from) <= Math.min(last, through);
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
