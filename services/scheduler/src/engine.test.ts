import { liveRanges } from '@carillon/core/live-terms.ts';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import { describe, expect, test } from 'vitest';
import { DAY_MS, engineAt, NOTHING_YET, record, span, timing, unreadableSpan } from './engine-under-test.ts';
import type { Timing } from './timing.ts';

describe('the engine', () => {
  test('hands out each slot once, when it is due and not before', () => {
    const { engine, nominals } = engineAt();
    engine.apply(record());
    expect(nominals(10, 999)).toEqual([]);
    expect(engine.nextDueMs).toBe(1_000);
    expect(nominals(10, 3_500)).toEqual([1, 2, 3]);
    expect(nominals(10, 3_999)).toEqual([]);
    expect(nominals(10, 4_000)).toEqual([4]);
  });

  test('slots are strictly after the activation, and up to the end of the span', () => {
    const { engine, nominals } = engineAt();
    engine.apply(record({ spans: [span({ fromMs: 2_000, toMs: 5_000, endReason: 'REVISED' })] }));
    expect(nominals(10, 60_000)).toEqual([3, 4, 5]);
    expect(engine.streamSize).toBe(0);
  });

  test('a schedule that has no slot left is none that waits', () => {
    const { engine, nominals } = engineAt();
    const once = timing(1, {
      recurrence: compileRecurrence({ pattern: { kind: 'at', at: 5 } }, 'p/d/s'),
    });
    engine.apply(record({ spans: [span({ fromMs: 10_000, timing: once })] }));
    engine.apply(
      record({
        id: 2,
        spans: [span({ timing: once })],
        seenSpan: 1,
        watermark: { ...NOTHING_YET, throughMs: 7_000 },
      }),
    );
    expect(nominals(10, 60_000)).toEqual([]);
    expect(engine.streamSize).toBe(0);
    expect(engine.nextDueMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('an edit is not retroactive: what the old span held is still fired by the old revision', () => {
    const { engine, take } = engineAt();
    engine.apply(record());
    expect(take(2, 2_000)).toHaveLength(2);
    engine.apply(
      record({
        generation: 2,
        spans: [
          span({ toMs: 4_500, endReason: 'REVISED' }),
          span({ span: 2, revision: 2, fromMs: 4_500, timing: timing(10) }),
        ],
      }),
    );
    const slots = take(10, 20_000);
    expect(slots.map((slot) => [slot.nominalSec, slot.revision])).toEqual([
      [3, 1],
      [10, 2],
      [4, 1],
      [20, 2],
    ]);
  });

  test('an older record changes nothing', () => {
    const { engine, nominals } = engineAt();
    engine.apply(record({ generation: 3 }));
    engine.apply(record({ generation: 2, spans: [] }));
    expect(nominals(10, 2_000)).toEqual([1, 2]);
  });

  test('a stop writes off what was not handed out, and leaves what was', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(record());
    expect(nominals(2, 5_000)).toEqual([1, 2]);
    engine.apply(record({ generation: 2, spans: [span({ toMs: 4_200, endReason: 'DEACTIVATED' })] }));
    expect(nominals(10, 10_000)).toEqual([]);
    expect(writeOffs).toHaveLength(1);
    expect(writeOffs[0]).toMatchObject({
      nominalSec: 3,
      lastNominalSec: 4.2,
      verdict: { outcome: 'SKIPPED', reason: 'DEACTIVATED' },
    });
    expect(engine.outstandingSize).toBe(3);
  });

  test('a later stop reaches back to older spans, even if it has ended', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(
      record({
        spans: [
          span({ toMs: 3_000, endReason: 'REVISED' }),
          span({ span: 2, revision: 2, fromMs: 3_000, toMs: 5_000, endReason: 'PAUSED' }),
          span({ span: 3, revision: 2, state: 'PAUSED', fromMs: 5_000, toMs: 8_000, endReason: 'UNPAUSED' }),
          span({ span: 4, revision: 2, fromMs: 8_000 }),
        ],
      }),
    );
    expect(nominals(10, 10_000)).toEqual([9, 10]);
    expect(writeOffs.map((writeOff) => [writeOff.nominalSec, writeOff.verdict.reason])).toEqual([
      [1, 'PAUSED'],
      [4, 'PAUSED'],
    ]);
  });

  test('live slots go before missed ones, and missed ones have a limit of their own', () => {
    const { engine, take } = engineAt();
    engine.apply(record({ live: liveRanges([], 10_000) }));
    const slots = take(5, 12_500, 3);
    expect(slots.map((slot) => [slot.nominalSec, slot.live])).toEqual([
      [11, true],
      [12, true],
      [1, false],
      [2, false],
      [3, false],
    ]);
  });

  test('projects take turns', () => {
    const { engine, take } = engineAt();
    for (let id = 1; id <= 4; id++)
      engine.apply(record({ id, project: 'herd', spans: [span({ timing: timing(60) })] }));
    engine.apply(record({ id: 9, project: 'lone', spans: [span({ timing: timing(60) })] }));
    expect(take(3, 60_000).map((slot) => slot.id)).toEqual([1, 9, 2]);
  });

  test('slots beyond their catch-up window are written off as one, without being listed', () => {
    const { engine, writeOffs, take } = engineAt();
    engine.apply(
      record({
        live: liveRanges([], 30 * DAY_MS),
        spans: [span({ timing: timing(1, { catchUpWindowMs: 10_000 }) })],
      }),
    );
    const slots = take(3, 30 * DAY_MS);
    expect(slots.map((slot) => slot.nominalSec)).toEqual([
      30 * 86_400 - 10,
      30 * 86_400 - 9,
      30 * 86_400 - 8,
    ]);
    expect(writeOffs).toHaveLength(1);
    expect(writeOffs[0]).toMatchObject({
      nominalSec: 1,
      lastDueMs: 30 * DAY_MS - 10_001,
      verdict: { outcome: 'MISSED' },
    });
  });

  test('payloads that would make a call too large wait for the next one', () => {
    const { engine, take } = engineAt();
    for (let id = 1; id <= 3; id++) engine.apply(record({ id, payloadBytes: 600_000 }));
    expect(take(10, 1_000)).toHaveLength(1);
    expect(take(10, 1_000)).toHaveLength(1);
  });
});

describe('what an edit left unsettled of an older revision', () => {
  test('does not bring back slots of a newer one that are handed out', () => {
    const { engine, writeOffs, take } = engineAt();
    const old = span({ toMs: 3_500, endReason: 'REVISED' });
    const once = compileRecurrence({ pattern: { kind: 'at', at: 5 } }, 'p/d/s');
    const oneShot = span({ span: 2, revision: 2, fromMs: 3_500, timing: { ...timing(1), recurrence: once } });
    engine.apply(record({ spans: [old, oneShot] }));
    const slots = take(2, 6_000);
    expect(slots.map((slot) => slot.nominalSec).sort()).toEqual([1, 5]);
    engine.apply(
      record({ generation: 2, spans: [old, { ...oneShot, toMs: 7_000, endReason: 'DEACTIVATED' }] }),
    );
    // The slots 2 and 3 of the first revision were not handed out; the one-shot was.
    expect(writeOffs.map((writeOff) => [writeOff.revision, writeOff.nominalSec])).toEqual([[1, 2]]);
  });
});

describe('catch-up', () => {
  const spansOf = (changes: Partial<Timing>) => [span({ timing: timing(1, changes) })];

  test('LATEST fires the newest missed slot, and live ones as ever', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(record({ live: liveRanges([], 60_500), spans: spansOf({ catchUpPolicy: 'LATEST' }) }));
    expect(nominals(10, 62_000)).toEqual([61, 62, 60]);
    expect(writeOffs).toHaveLength(1);
    expect(writeOffs[0]).toMatchObject({
      nominalSec: 1,
      lastDueMs: 59_999,
      verdict: { outcome: 'MISSED', reason: 'SUPERSEDED' },
    });
  });

  test('LATEST looks at all spans together', () => {
    const { engine, writeOffs, nominals } = engineAt();
    const latest = timing(10, { catchUpPolicy: 'LATEST' });
    engine.apply(
      record({
        live: liveRanges([], 60_500),
        spans: [
          span({ toMs: 55_000, endReason: 'REVISED', timing: timing(1, { catchUpPolicy: 'LATEST' }) }),
          span({ span: 2, revision: 2, fromMs: 55_000, timing: latest }),
        ],
      }),
    );
    expect(nominals(10, 61_000)).toEqual([60]);
    expect(writeOffs.map((writeOff) => [writeOff.revision, writeOff.nominalSec])).toEqual([[1, 1]]);
  });

  test('what was kept and is settled keeps its place: the next leader fires no older one', () => {
    const { engine, writeOffs, nominals } = engineAt();
    // Slot 60 was the newest of the gap, and has fired; that the others are superseded was not written down.
    engine.apply(
      record({
        live: liveRanges([], 60_500),
        spans: spansOf({ catchUpPolicy: 'LATEST' }),
        seenSpan: 1,
        watermark: { throughMs: 55_000, settledAbove: [{ after: 59_000, through: 60_000 }], own: true },
      }),
    );
    expect(nominals(10, 61_000)).toEqual([61]);
    expect(writeOffs).toMatchObject([
      { nominalSec: 56, lastDueMs: 59_000, verdict: { reason: 'SUPERSEDED' } },
    ]);
  });

  test('what was kept and is on its way keeps its place when the schedule changes', () => {
    const { engine, writeOffs, nominals } = engineAt();
    const limited = spansOf({ catchUpLimit: 2 });
    engine.apply(record({ live: liveRanges([], 60_500), spans: limited }));
    expect(nominals(10, 60_500)).toEqual([59, 60]);
    engine.apply(record({ generation: 2, live: liveRanges([], 60_500), spans: limited }));
    expect(nominals(10, 60_500)).toEqual([]);
    expect(writeOffs.at(-1)).toMatchObject({
      nominalSec: 1,
      lastDueMs: 58_000,
      verdict: { reason: 'BEYOND_LIMIT' },
    });
  });

  test('LATEST chooses once, however often the schedule changes while the rest is not settled', () => {
    const { engine, writeOffs, take, nominals } = engineAt();
    const changed = (generation: number, openSpan = 1) => {
      const spans = Array.from({ length: openSpan }, (_, index) => {
        const isOpen = index + 1 === openSpan;
        return span({
          span: index + 1,
          revision: index + 1,
          fromMs: index === 0 ? 0 : 600_000 + index * 1_000,
          toMs: isOpen ? Number.POSITIVE_INFINITY : 600_000 + (index + 1) * 1_000,
          endReason: isOpen ? undefined : 'REVISED',
          timing: timing(60, { catchUpPolicy: 'LATEST' }),
        });
      });
      engine.apply(record({ generation, live: liveRanges([], 600_500), spans }));
    };
    changed(1);
    const [latest] = take(10, 600_600);
    expect(latest?.nominalSec).toBe(600);
    changed(2);
    expect(nominals(10, 600_600)).toEqual([]);
    engine.settle(latest!);
    for (const [generation, openSpan] of [
      [3, 1],
      [4, 2],
      [5, 3],
    ] as const) {
      changed(generation, openSpan);
      expect(nominals(10, 603_600)).toEqual([]);
      expect(writeOffs.at(-1)).toMatchObject({
        revision: 1,
        nominalSec: 60,
        lastDueMs: 540_000,
        verdict: { reason: 'SUPERSEDED' },
      });
    }
  });

  test('what fired in a newer span counts for the older ones', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(
      record({
        live: liveRanges([], 60_500),
        spans: [
          span({ toMs: 55_000, endReason: 'REVISED', timing: timing(1, { catchUpPolicy: 'LATEST' }) }),
          span({
            span: 2,
            revision: 2,
            fromMs: 55_000,
            timing: timing(10, { catchUpPolicy: 'LATEST' }),
          }),
        ],
        seenSpan: 2,
        watermark: { throughMs: 50_000, settledAbove: [{ after: 55_000, through: 60_000 }], own: true },
      }),
    );
    expect(nominals(10, 61_000)).toEqual([]);
    expect(writeOffs).toMatchObject([{ revision: 1, nominalSec: 51, verdict: { reason: 'SUPERSEDED' } }]);
  });

  describe('after quarantine', () => {
    const unreadableOf = () => ({ spans: [], unreadable: [unreadableSpan()], problem: 'unknown zone' });
    const none = timing(1, { catchUpPolicy: 'NONE' });

    test('fires what fell due in it by the catch-up policy, whoever led', () => {
      const { engine, writeOffs, take, nominals } = engineAt();
      engine.apply(record({ spans: spansOf({ catchUpPolicy: 'LATEST' }) }));
      for (const slot of take(10, 2_500)) engine.settle(slot);
      engine.apply(record({ generation: 2, ...unreadableOf() }));
      engine.advance(9_500);
      engine.apply(record({ generation: 3, spans: spansOf({ catchUpPolicy: 'LATEST' }) }));
      expect(nominals(10, 11_000)).toEqual([10, 11, 9]);
      expect(writeOffs).toMatchObject([
        { nominalSec: 3, lastDueMs: 8_999, verdict: { reason: 'SUPERSEDED' } },
      ]);
    });

    test('counts it from when it began under this leader, not from what was stored', () => {
      const { engine, writeOffs, nominals } = engineAt();
      engine.resume(new Map([[7, 2_500]]));
      const watermark = { throughMs: 2_500, settledAbove: [], own: false };
      engine.apply(record({ ...unreadableOf(), watermark, seenSpan: 1 }));
      engine.advance(4_500);
      engine.advance(6_500);
      engine.apply(record({ generation: 2, spans: [span({ timing: none })] }));
      // The slots 3 and 4 fell due while it could still be read.
      expect(nominals(10, 7_000).sort()).toEqual([3, 4, 7]);
      expect(writeOffs).toMatchObject([
        { nominalSec: 5, lastDueMs: 6_500, verdict: { reason: 'CATCH_UP_NONE' } },
      ]);
    });

    test('of an earlier leader too, of the spans that were in it', () => {
      const { engine, writeOffs, nominals } = engineAt();
      engine.apply(
        record({
          spans: [
            span({ toMs: 6_500, endReason: 'REVISED', timing: none }),
            span({ span: 2, revision: 2, fromMs: 6_500, timing: none }),
          ],
          watermark: { throughMs: 2_500, settledAbove: [], own: true },
          seenSpan: 2,
          quarantined: [{ after: 3_500, through: 9_500, throughSpan: 1 }],
        }),
      );
      expect(nominals(10, 8_000)).toEqual([3, 7, 8]);
      expect(writeOffs).toMatchObject([
        { nominalSec: 4, lastNominalSec: 6.5, verdict: { reason: 'CATCH_UP_NONE' } },
      ]);
    });

    test('what an edit left behind that cannot be read is given up when it could not fire any more', () => {
      const { engine, writeOffs, cleared, nominals } = engineAt();
      const old = unreadableSpan({
        toMs: 2_500,
        endReason: 'REVISED',
        jitterMs: 500,
        catchUpWindowMs: 5_000,
      });
      const repaired = span({ span: 2, revision: 2, fromMs: 2_500 });
      engine.apply(record({ spans: [repaired], unreadable: [old], problem: 'unknown zone' }));
      expect(nominals(10, 8_000)).toEqual([3, 4, 5, 6, 7, 8]);
      expect(writeOffs).toEqual([]);
      engine.advance(8_001);
      expect(writeOffs).toMatchObject([
        {
          revision: 1,
          timing: undefined,
          nominalSec: 1,
          lastNominalSec: 2,
          lastDueMs: 3_000,
          verdict: { outcome: 'MISSED', reason: 'UNREADABLE' },
        },
      ]);
      expect(engine.quarantinedSize).toBe(0);
      expect([engine.hasUnread(1), cleared]).toEqual([true, []]);
      engine.settle(writeOffs[0]!);
      expect([engine.hasUnread(1), cleared]).toEqual([false, [1]]);
    });

    test('a stop gives up what cannot be read, and until that is settled a repair takes it back', () => {
      const { engine, writeOffs, nominals } = engineAt();
      engine.apply(record({ ...unreadableOf() }));
      const end = { toMs: 2_500, endReason: 'PAUSED' } as const;
      const open = { span: 3, fromMs: 4_500 };
      const pause = { span: 2, state: 'PAUSED', fromMs: 2_500, toMs: 4_500, endReason: 'UNPAUSED' } as const;
      engine.apply(
        record({
          generation: 2,
          spans: [],
          unreadable: [unreadableSpan(end), unreadableSpan(pause), unreadableSpan(open)],
          problem: 'unknown zone',
        }),
      );
      expect(writeOffs).toMatchObject([
        {
          nominalSec: 1,
          lastNominalSec: 2,
          timing: undefined,
          verdict: { outcome: 'SKIPPED', reason: 'PAUSED' },
        },
      ]);
      engine.apply(record({ generation: 3, spans: [span(end), span(pause), span(open)] }));
      expect(engine.isOutstanding(writeOffs[0]!)).toBe(false);
      expect(writeOffs[1]).toMatchObject({ nominalSec: 1, verdict: { reason: 'PAUSED' } });
      expect(writeOffs[1]!.timing).toBeDefined();
      expect(nominals(10, 6_000)).toEqual([5, 6]);
    });

    test('a refusal counts as one', () => {
      const { engine, writeOffs, take, nominals } = engineAt();
      engine.apply(record({ spans: [span({ timing: none })] }));
      for (const slot of take(10, 2_500)) engine.settle(slot);
      engine.refuse(1, { throughMs: 2_500, settledAbove: [] }, false);
      engine.advance(9_500);
      engine.apply(record({ generation: 2, spans: [span({ timing: none })] }));
      expect(nominals(10, 11_000)).toEqual([10, 11]);
      expect(writeOffs.at(-1)).toMatchObject({ nominalSec: 3, lastDueMs: 9_500 });
    });
  });

  test('NONE fires live ones alone', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(record({ live: liveRanges([], 60_500), spans: spansOf({ catchUpPolicy: 'NONE' }) }));
    expect(nominals(10, 61_000)).toEqual([61]);
    expect(writeOffs[0]).toMatchObject({ nominalSec: 1, verdict: { reason: 'CATCH_UP_NONE' } });
  });

  test('a limit keeps the newest', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(record({ live: liveRanges([], 60_500), spans: spansOf({ catchUpLimit: 3 }) }));
    expect(nominals(10, 60_600)).toEqual([58, 59, 60]);
    expect(writeOffs[0]).toMatchObject({
      nominalSec: 1,
      lastDueMs: 57_999,
      verdict: { reason: 'BEYOND_LIMIT' },
    });
  });

  test('fewer missed slots than the limit are all fired', () => {
    const { engine, writeOffs, nominals } = engineAt();
    engine.apply(record({ live: liveRanges([], 2_500), spans: spansOf({ catchUpLimit: 3 }) }));
    expect(nominals(10, 2_600)).toEqual([1, 2]);
    expect(writeOffs).toEqual([]);
  });
});

describe('a schedule whose overlap policy has one slot in flight', () => {
  const exclusive = timing(1, { overlap: { policy: 'SKIP', limit: 1 } });

  test('hands out the next when the last is settled', () => {
    const { engine, take } = engineAt();
    engine.apply(record({ spans: [span({ timing: exclusive })] }));
    const [one, ...more] = take(10, 3_000);
    expect([one!.nominalSec, more]).toEqual([1, []]);
    expect(engine.readySize).toBe(0);
    expect(engine.checkpoints.next(3_000, 'EVERY_UNIT').frontierMs).toBe(999);
    engine.settle(one!);
    const [two, ...none] = take(10, 3_000);
    expect([two!.nominalSec, none]).toEqual([2, []]);
  });

  test('goes by due time, though live slots go before missed ones elsewhere', () => {
    const { engine, take } = engineAt();
    engine.apply(record({ live: liveRanges([], 2_500), spans: [span({ timing: exclusive })] }));
    const order: number[] = [];
    for (let i = 0; i < 4; i++) {
      for (const slot of take(10, 4_000)) {
        order.push(slot.nominalSec);
        engine.settle(slot);
      }
    }
    expect(order).toEqual([1, 2, 3, 4]);
  });

  test('what is put aside is dropped with an edit', () => {
    const { engine, take } = engineAt();
    engine.apply(record({ spans: [span({ timing: exclusive })] }));
    const [one] = take(10, 3_000);
    engine.apply(
      record({ generation: 2, spans: [span({ toMs: 1_500, endReason: 'REVISED', timing: exclusive })] }),
    );
    engine.settle(one!);
    expect(take(10, 5_000)).toEqual([]);
    expect(engine.streamSize).toBe(0);
  });
});
