import type { UnitKey } from '@carillon/core/assignment.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Engine } from './engine.ts';
import { engineAt, NOTHING_YET, record, span, timing, unreadableSpan } from './engine-under-test.ts';
import { nominalTimesOf, type Slot } from './slot.ts';
import type { Timing } from './timing.ts';

/** Takes, writes and confirms a checkpoint. */
function confirmed(engine: Engine, nowMs: number) {
  const checkpoint = engine.checkpoints.next(nowMs, 'TOUCHED');
  engine.checkpoints.begin(checkpoint);
  engine.checkpoints.confirm(checkpoint);
  return checkpoint;
}

describe('the watermark', () => {
  test('leaves out a slot below what is stored, of a span that is news, if the row that tells of it is refused', () => {
    const { engine, take } = engineAt();
    engine.apply(record({ spans: [span({ timing: timing(10) })] }));
    take(1, 5_000);
    expect(confirmed(engine, 5_000)).toMatchObject({ frontierMs: 5_000 });
    // An edit as of 2.5 s that commits late: its slots at 3, 4 and 5 s are below.
    engine.apply(
      record({
        generation: 2,
        spans: [
          span({ toMs: 2_500, endReason: 'REVISED', timing: timing(10) }),
          span({ span: 2, revision: 2, fromMs: 2_500 }),
        ],
      }),
    );
    const [third, fourth, fifth] = take(3, 5_000);
    engine.settle(third!);
    engine.settle(fourth!, true);
    engine.settle(fifth!);
    engine.refuse(1, { throughMs: 5_000, settledAbove: [] }, false);
    expect(engine.checkpoints.next(5_000, 'TOUCHED').laggards).toMatchObject([{ throughMs: 3_999 }]);
  });

  test('moves over settled slots only', () => {
    const { engine, take } = engineAt();
    engine.apply(record());
    const [one, two] = take(2, 2_500);
    engine.settle(two!);
    expect(engine.checkpoints.next(2_500, 'TOUCHED')).toMatchObject({ frontierMs: 999, units: [7] });
    engine.settle(one!);
    expect(engine.checkpoints.next(2_500, 'TOUCHED')).toMatchObject({ frontierMs: 2_500, units: [7] });
  });

  test('what waits to be taken holds it', () => {
    const { engine } = engineAt();
    engine.apply(record());
    engine.advance(1_500);
    expect(engine.checkpoints.next(1_500, 'EVERY_UNIT').frontierMs).toBe(999);
  });

  test('a schedule that lags gets one of its own, and gives it back when it has caught up', () => {
    const { engine, take } = engineAt();
    engine.apply(record());
    engine.apply(record({ id: 2, unit: 8 }));
    const slots = take(2, 1_000);
    const stuck = slots.find((slot) => slot.id === 2)!;
    engine.settle(slots.find((slot) => slot.id === 1)!);
    for (let at = 2; at <= 10; at++) for (const slot of take(10, at * 1_000)) engine.settle(slot);

    const behind = confirmed(engine, 10_000);
    expect(behind.frontierMs).toBe(10_000);
    expect(behind.laggards).toEqual([
      { schedule: stuck.schedule, throughMs: 999, settledAbove: [{ after: 1_000, through: 10_999 }] },
    ]);

    engine.settle(stuck);
    const caughtUp = confirmed(engine, 10_000);
    expect(caughtUp).toMatchObject({ laggards: [], caughtUp: [stuck.schedule] });
    expect(caughtUp.units).toContain(8);
    expect(engine.checkpoints.laggardSize).toBe(0);
  });

  test('goes on although more schedules than it writes rows for are stuck at one instant', () => {
    const { engine } = engineAt();
    for (let id = 0; id < 2_500; id++) engine.apply(record({ id, unit: id % 1024 }));
    while (engine.advance(20_000));
    engine.take(2_500, 0, 1e9, 20_000);
    const frontiers = Array.from({ length: 4 }, () => confirmed(engine, 20_000).frontierMs);
    expect(frontiers).toEqual([999, 999, 20_000, 20_000]);
  });

  test('holds for a laggard whose row may not have been written', () => {
    const { engine, take } = engineAt();
    engine.apply(record());
    const [stuck] = take(1, 1_000);
    for (const slot of take(10, 9_000)) engine.settle(slot);
    const lost = engine.checkpoints.next(9_000, 'TOUCHED');
    expect(lost.laggards).toHaveLength(1);
    engine.checkpoints.begin(lost);
    engine.checkpoints.rollBack(lost);
    const again = engine.checkpoints.next(9_000, 'TOUCHED');
    expect(again.laggards).toEqual(lost.laggards);
    expect(again.units).toEqual(lost.units);
    engine.settle(stuck!);
  });

  test('quarantine holds the schedule where it was, and repair takes it on from there', () => {
    const { engine, take, nominals } = engineAt();
    engine.apply(record());
    engine.settle(take(1, 1_000)[0]!);
    const unreadable = unreadableSpan();
    engine.apply(record({ generation: 2, spans: [], unreadable: [unreadable], problem: 'unknown zone' }));
    expect(nominals(10, 5_000)).toEqual([]);
    expect(engine.quarantinedSize).toBe(1);
    expect(confirmed(engine, 60_000).laggards[0]).toMatchObject({ throughMs: 1_999 });
    engine.apply(record({ generation: 3 }));
    expect(nominals(10, 5_000)).toEqual([2, 3, 4, 5]);
    expect(engine.quarantinedSize).toBe(0);
  });

  test('a schedule in quarantine keeps a row of its own, although the frontier has not come to its next slot', () => {
    const { engine, nominals } = engineAt();
    engine.apply(record());
    engine.advance(500);
    const unreadable = unreadableSpan();
    engine.apply(record({ generation: 2, spans: [], unreadable: [unreadable], problem: 'unknown zone' }));
    expect(confirmed(engine, 500)).toMatchObject({ laggards: [{ throughMs: 999 }], caughtUp: [] });
    expect(engine.checkpoints.laggardSize).toBe(1);
    engine.advance(5_000);
    engine.apply(record({ generation: 3 }));
    expect(nominals(10, 2_500)).toEqual([1, 2]);
  });

  test('no slot is lost between the window and a clock that stands between two milliseconds', () => {
    const { engine, writeOffs } = engineAt();
    engine.apply(record({ spans: [span({ timing: timing(1, { catchUpWindowMs: 3_000 }) })] }));
    engine.advance(4_000.5);
    expect(engine.take(1, 1, 1_000_000, 4_000.5).map((slot) => slot.nominalSec)).toEqual([2]);
    expect(writeOffs.map((writeOff) => [...nominalTimesOf(writeOff)])).toEqual([[1]]);
  });

  test('what was written off is settled for good, although an older slot is not', () => {
    const { engine, writeOffs, take } = engineAt();
    engine.apply(record());
    const [first] = take(1, 5_000);
    engine.apply(record({ generation: 2, spans: [span({ toMs: 5_500, endReason: 'DEACTIVATED' })] }));
    engine.settle(writeOffs[0]!);
    const { laggards } = confirmed(engine, 5_600);
    expect(laggards).toMatchObject([{ throughMs: 999, settledAbove: [{ after: 1_000, through: 5_000 }] }]);
    engine.settle(first!);
    engine.advance(6_000);
    expect(confirmed(engine, 6_000)).toMatchObject({ laggards: [], caughtUp: [0] });
  });

  test('a span that is news gives nothing up that was sent as a slot of the one before', () => {
    const { engine, writeOffs, take } = engineAt();
    engine.apply(record());
    for (const slot of take(10, 4_000)) engine.settle(slot);
    // The feed was late: what fell due since 1.5 s has been sent as the first span's.
    engine.apply(
      record({
        generation: 2,
        spans: [
          span({ toMs: 1_500, endReason: 'DEACTIVATED' }),
          span({ span: 2, fromMs: 1_600, toMs: 3_500, endReason: 'PAUSED' }),
        ],
      }),
    );
    expect(writeOffs).toMatchObject([{ nominalSec: 2, lastNominalSec: 3.5, sentThroughMs: 4_000 }]);
  });

  test('a clock that leapt since the engine was advanced leaves nothing out of what may have been sent', () => {
    const { engine, writeOffs, take } = engineAt();
    engine.apply(record());
    for (const slot of take(10, 1_000)) engine.settle(slot);
    // As the executor does when the clock has been read anew.
    engine.advance(2_000);
    for (const slot of engine.take(10, 10, 1_000_000, 4_000)) engine.settle(slot);
    engine.apply(
      record({
        generation: 2,
        spans: [
          span({ toMs: 1_500, endReason: 'DEACTIVATED' }),
          span({ span: 2, fromMs: 1_600, toMs: 3_500, endReason: 'PAUSED' }),
        ],
      }),
    );
    expect(writeOffs).toMatchObject([{ nominalSec: 2, lastNominalSec: 3.5, sentThroughMs: 4_000 }]);
  });

  test('what is planned anew is by span: another span of the same time is not touched', () => {
    const { engine, take, nominals } = engineAt();
    const spans = [
      span({ toMs: 2_500, endReason: 'REVISED' }),
      span({ span: 2, revision: 2, fromMs: 2_500 }),
    ];
    engine.apply(record({ spans }));
    // One of the first span and one of the second; another of each is left.
    const slots = take(2, 3_000);
    expect(slots.map((slot) => [slot.nominalSec, slot.revision])).toEqual([
      [1, 1],
      [3, 2],
    ]);
    engine.apply(record({ generation: 2, spans }));
    expect(nominals(10, 3_500)).toEqual([2]);
    expect(nominals(10, 4_000)).toEqual([4]);
  });

  test('after the clock was set back nothing is sent before its time, and no frontier goes back', () => {
    const { engine, take, nominals } = engineAt();
    engine.apply(record());
    for (const slot of take(10, 5_000)) engine.settle(slot);
    expect(confirmed(engine, 5_000)).toMatchObject({ units: [7], throughMs: [5_000] });
    engine.advance(6_000);
    expect(nominals(10, 3_000)).toEqual([]);
    engine.apply(record({ id: 2, spans: [span({ fromMs: 2_500 })] }));
    expect(nominals(10, 3_100)).toEqual([3]);
    // What is new below the stored frontier has a watermark of its own.
    expect(confirmed(engine, 3_100)).toMatchObject({
      units: [7],
      throughMs: [5_000],
      laggards: [{ schedule: 1, throughMs: 2_999, settledAbove: [{ after: 3_000, through: 3_999 }] }],
    });
    expect(nominals(10, 6_000)).toEqual([4, 6, 5, 6]);
  });

  test('goes on from the frontiers that an earlier one stored', () => {
    const { engine } = engineAt();
    engine.resume(new Map([[7, 9_000]]));
    engine.apply(record({ seenSpan: 1, watermark: { throughMs: 9_000, settledAbove: [], own: false } }));
    engine.advance(4_000);
    expect(engine.checkpoints.next(4_000, 'EVERY_UNIT').throughMs[0]).toBe(9_000);
    expect(engine.nextDueMs).toBe(10_000);
  });

  test('a watermark of its own stays until the frontier has come as far as any that speaks for the schedule', () => {
    const { engine } = engineAt();
    engine.resume(new Map([[7, 1_500]]));
    // Under an earlier assignment it was in a unit that came up to 60 s, but for this one schedule.
    const own = record({ seenSpan: 1, watermark: { throughMs: 1_000, settledAbove: [], own: true } });
    engine.apply({ ...own, watermark: { ...own.watermark, frontierMs: 60_000 } });
    const settleAllDue = (nowMs: number): void => {
      while (engine.advance(nowMs));
      for (const slot of engine.take(100, 100, 1e9, nowMs)) engine.settle(slot);
    };
    settleAllDue(30_000);
    expect(confirmed(engine, 30_000)).toMatchObject({ caughtUp: [], laggards: [{ throughMs: 30_999 }] });
    settleAllDue(60_000);
    expect(confirmed(engine, 60_000)).toMatchObject({ caughtUp: [0], laggards: [], throughMs: [60_000] });
  });

  test('a schedule that comes from a unit that is behind this one has a watermark of its own', () => {
    const { engine, take } = engineAt();
    engine.resume(new Map([[7, 30_000]]));
    engine.apply(record({ seenSpan: 1, watermark: { ...NOTHING_YET, throughMs: 10_000 } }));
    while (engine.advance(31_000));
    expect(confirmed(engine, 31_000)).toMatchObject({
      laggards: [{ throughMs: 10_999 }],
      units: [7],
      throughMs: [31_000],
    });
    for (const slot of take(100, 31_000)) engine.settle(slot);
    expect(confirmed(engine, 31_000)).toMatchObject({ laggards: [], caughtUp: [0] });
  });

  test('spans that a frontier speaks less for than for others begin where it says', () => {
    const { engine, nominals } = engineAt();
    const spans = [
      span({ toMs: 4_000, endReason: 'REVISED' }),
      span({ span: 2, revision: 2, fromMs: 4_000, settledMs: 6_000 }),
    ];
    const newest = record({ spans, seenSpan: 2, watermark: { ...NOTHING_YET, throughMs: 9_000 } });
    engine.apply({
      ...newest,
      spans: newest.spans.map((each, i) => ({ ...each, settledMs: [9_000, 6_000][i]! })),
    });
    expect(nominals(10, 8_000)).toEqual([7, 8]);
  });

  test('a span that cannot be read holds its own slots alone', () => {
    const { engine, take } = engineAt();
    const unreadable = unreadableSpan({ toMs: 2_500, endReason: 'REVISED' });
    const repaired = span({ span: 2, revision: 2, fromMs: 2_500 });
    engine.apply(record({ spans: [repaired], unreadable: [unreadable], problem: 'unknown zone' }));
    expect(engine.quarantinedSize).toBe(1);
    const slots = take(10, 4_000);
    expect(slots.map((slot) => slot.nominalSec)).toEqual([3, 4]);
    for (const slot of slots) engine.settle(slot);
    expect(confirmed(engine, 60_000).laggards).toMatchObject([
      { throughMs: 0, settledAbove: [{ after: 2_500, through: 4_999 }] },
    ]);
  });

  test('from any checkpoint, a new engine hands out exactly what was not settled', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            take: fc.integer({ min: 0, max: 6 }),
            settle: fc.integer({ min: 0, max: 255 }),
            stepMs: fc.integer({ min: 0, max: 9_000 }),
          }),
          { minLength: 1, maxLength: 30 },
        ),
        fc.constantFrom(0, 7),
        (steps, jitterSec) => {
          const timings = [
            timing(1, { jitterSec, identity: 'a' }),
            timing(3),
            timing(5, { jitterSec, identity: 'c' }),
          ];
          const spans = (index: number) => [span({ timing: timings[index]! })];
          const { engine } = engineAt();
          for (let id = 0; id < 3; id++) engine.apply(record({ id, unit: id, spans: spans(id) }));
          const settled = new Set<string>();
          const outstanding: Slot[] = [];
          const frontiers = new Map<UnitKey, number>();
          const rows = new Map<
            number,
            { throughMs: number; settledAbove: readonly { after: number; through: number }[] }
          >();
          let atCheckpoint = new Set<string>();
          let nowMs = 0;
          for (const step of steps) {
            nowMs += step.stepMs;
            while (engine.advance(nowMs));
            outstanding.push(...engine.take(step.take, step.take, 1e9, nowMs));
            for (let i = outstanding.length - 1; i >= 0; i--) {
              if (((step.settle >> (i % 8)) & 1) === 0) continue;
              const [slot] = outstanding.splice(i, 1);
              engine.settle(slot!);
              settled.add(`${slot!.id}@${slot!.nominalSec}`);
            }
            const checkpoint = confirmed(engine, nowMs);
            for (const unit of checkpoint.units) frontiers.set(unit, checkpoint.frontierMs);
            for (const laggard of checkpoint.laggards)
              rows.set(engine.schedules.id[laggard.schedule]!, laggard);
            for (const schedule of checkpoint.caughtUp) rows.delete(engine.schedules.id[schedule]!);
            atCheckpoint = new Set(settled);
          }

          const { engine: next } = engineAt();
          for (let id = 0; id < 3; id++) {
            const own = rows.get(id);
            const frontierMs = frontiers.get(id);
            next.apply(
              record({
                id,
                unit: id,
                spans: spans(id),
                seenSpan: own || frontierMs !== undefined ? 1 : 0,
                watermark: own
                  ? { ...own, own: true }
                  : { throughMs: frontierMs ?? Number.NEGATIVE_INFINITY, settledAbove: [], own: false },
              }),
            );
          }
          const handedOut = new Set<string>();
          while (next.advance(nowMs));
          for (;;) {
            const slots = next.take(1_000, 1_000, 1e9, nowMs);
            if (slots.length === 0) break;
            for (const slot of slots) {
              const key = `${slot.id}@${slot.nominalSec}`;
              expect(handedOut.has(key)).toBe(false);
              handedOut.add(key);
            }
          }
          // Everything due that was not settled is handed out again; what was settled may be, where nothing was written.
          for (let id = 0; id < 3; id++) {
            for (const slot of allDue(timings[id]!, nowMs)) {
              const key = `${id}@${slot}`;
              if (!atCheckpoint.has(key)) expect(handedOut, key).toContain(key);
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

function allDue(of: Timing, nowMs: number): number[] {
  const found: number[] = [];
  for (
    let at = of.recurrence.next(0);
    at * 1_000 <= nowMs - of.jitterSec * 1_000;
    at = of.recurrence.next(at)
  )
    found.push(at);
  return found;
}
