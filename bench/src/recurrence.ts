import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { compileRecurrence, type Recurrence, TimerQueue, ZONE_DATABASE_VERSION } from '@carillon/core';
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';

/**
 * The recurrence engine beside croner, cron-parser and node-cron, in one process and one run: next() per second of
 * one core, for ten expressions in UTC and in a zone with daylight saving; then memory, for a million schedules.
 */

const EXPRESSIONS = [
  '* * * * *',
  '*/5 * * * *',
  '0 * * * *',
  '30 2 * * *',
  '0 9 * * 1-5',
  '*/15 9-17 * * 1-5',
  '0 0 1 * *',
  '0 0 L * *',
  '0 12 * * 1#1',
  '0 0 29 2 *',
];
const ZONES = ['UTC', 'Europe/Berlin'];
const START = Date.UTC(2026, 0, 1) / 1000;
// Walks begin again here, so that all cross changes of the clocks, and sparse expressions do not run into the far future.
const END = Date.UTC(2056, 0, 1) / 1000;

/** The next slot after an instant in epoch seconds. */
type Next = (t: number) => number;

/** next() per second: walks on from slot to slot for `ms`, after a warm-up of a fifth of it; the best of three. */
function rate(next: Next, ms: number): number {
  let t = START;
  const walk = (duration: number): number => {
    const begin = performance.now();
    let [calls, elapsed, chunk] = [0, 0, 1];
    while (elapsed < duration) {
      for (let i = 0; i < chunk; i++) {
        t = next(t);
        if (t >= END) t = START;
      }
      calls += chunk;
      elapsed = performance.now() - begin;
      if (elapsed < duration / 10) chunk *= 2;
    }
    return (calls * 1000) / elapsed;
  };
  walk(ms / 5);
  return Math.max(walk(ms / 3), walk(ms / 3), walk(ms / 3));
}

function compile(expression: string, timeZone: string): Recurrence {
  return compileRecurrence({ pattern: { kind: 'cron', expression, timeZone } }, 'bench/bench/bench');
}

function croner(expression: string, timezone: string): Next {
  const cron = new Cron(expression, { timezone, paused: true });
  return (t) => cron.nextRun(new Date(t * 1000))!.getTime() / 1000;
}

function cronParser(expression: string, tz: string): Next {
  // Its cursor is inside: setting it for every call would measure more than next().
  let iterator = CronExpressionParser.parse(expression, { tz, currentDate: new Date(START * 1000) });
  return (t) => {
    if (t === START)
      iterator = CronExpressionParser.parse(expression, { tz, currentDate: new Date(START * 1000) });
    return iterator.next().getTime() / 1000;
  };
}

/** node-cron's matcher; the package exports only tasks, which know no "next after t". */
interface TimeMatcher {
  getNextMatch(date: Date): Date;
}

async function nodeCron(): Promise<(expression: string, zone: string) => Next> {
  const shared = new URL('_shared.js', import.meta.resolve('node-cron'));
  const exported: Record<string, unknown> = await import(shared.href);
  const matcher = Object.values(exported).find(
    (value) => typeof value === 'function' && typeof value.prototype?.getNextMatch === 'function',
  );
  if (matcher === undefined) throw new Error('this node-cron has no TimeMatcher');
  const TimeMatcher = matcher as new (expression: string, zone: string) => TimeMatcher;
  return (expression, zone) => {
    const walker = new TimeMatcher(expandNodeCron(expression), zone);
    return (t) => walker.getNextMatch(new Date(t * 1000)).getTime() / 1000;
  };
}

/** node-cron's internal form has six fields. */
function expandNodeCron(expression: string): string {
  return `0 ${expression}`;
}

/** A peer's speed; undefined where it cannot read the expression. */
function peerRate(make: () => Next, ms: number): number | undefined {
  let next: Next;
  try {
    next = make();
    next(START);
  } catch {
    return undefined;
  }
  return rate(next, ms);
}

interface Row {
  readonly expression: string;
  readonly zone: string;
  readonly nextPerSecond: number;
  readonly timesCroner: number | null;
  readonly timesCronParser: number | null;
  readonly timesNodeCron: number | null;
}

function times(ours: number, theirs: number | undefined): number | null {
  return theirs === undefined ? null : Math.round(ours / theirs);
}

async function measureNext(ms: number): Promise<Row[]> {
  const matcher = await nodeCron();
  const rows: Row[] = [];
  console.log(`${'expression'.padEnd(20)} ${'zone'.padEnd(14)}   next()/s    croner  cron-parser  node-cron`);
  for (const zone of ZONES) {
    for (const expression of EXPRESSIONS) {
      const recurrence = compile(expression, zone);
      const nextPerSecond = Math.round(rate((t) => recurrence.next(t), ms));
      const row = {
        expression,
        zone,
        nextPerSecond,
        timesCroner: times(
          nextPerSecond,
          peerRate(() => croner(expression, zone), ms),
        ),
        timesCronParser: times(
          nextPerSecond,
          peerRate(() => cronParser(expression, zone), ms),
        ),
        timesNodeCron: times(
          nextPerSecond,
          peerRate(() => matcher(expression, zone), ms),
        ),
      };
      rows.push(row);
      const columns = [row.timesCroner, row.timesCronParser, row.timesNodeCron].map((value) =>
        (value === null ? 'refused' : `${value}x`).padStart(10),
      );
      const speed = nextPerSecond.toLocaleString('en').padStart(11);
      console.log(`${expression.padEnd(20)} ${zone.padEnd(14)} ${speed} ${columns.join(' ')}`);
    }
  }
  return rows;
}

const SCHEDULES = 1_000_000;
const DISTINCT = 100_000;

/** The n-th of 100,000 different expressions. */
function distinctExpression(n: number): string {
  return `${n % 60} ${Math.floor(n / 60) % 24} ${1 + (Math.floor(n / 1440) % 28)} ${1 + (Math.floor(n / 40_320) % 12)} *`;
}

function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  collect();
  collect();
  const { heapUsed: heap, external } = process.memoryUsage();
  return heap + external;
}

interface Memory {
  readonly bytesPerSchedule: number;
  readonly bytesPerDistinctExpression: number;
  readonly compilesPerSecond: number;
  readonly lookupsPerSecond: number;
  readonly armsPerSecond: number;
  readonly popsPerSecond: number;
}

/** A million schedules of 100,000 expressions in the timer structures: each one's queue entry and its recurrence's number. */
function measureMemory(): Memory {
  const before = heapUsed();
  let begin = performance.now();
  const recurrences = Array.from({ length: DISTINCT }, (_, n) =>
    compile(distinctExpression(n), 'Europe/Berlin'),
  );
  const compilesPerSecond = (DISTINCT * 1000) / (performance.now() - begin);
  const compiled = heapUsed();
  begin = performance.now();
  for (let n = 0; n < DISTINCT; n++) compile(distinctExpression(n), 'Europe/Berlin');
  const lookupsPerSecond = (DISTINCT * 1000) / (performance.now() - begin);

  const emptied = heapUsed();
  const queue = new TimerQueue();
  const recurrenceOf = new Uint32Array(SCHEDULES);
  begin = performance.now();
  for (let handle = 0; handle < SCHEDULES; handle++) {
    recurrenceOf[handle] = handle % DISTINCT;
    queue.upsert(handle, recurrences[handle % DISTINCT]!.next(START) * 1000);
  }
  const armsPerSecond = (SCHEDULES * 1000) / (performance.now() - begin);
  const bytesPerSchedule = (heapUsed() - emptied) / SCHEDULES;

  const out = new Uint32Array(1000);
  begin = performance.now();
  let popped = 0;
  for (let n = queue.popDue(Infinity, 1000, out); n > 0; n = queue.popDue(Infinity, 1000, out)) popped += n;
  const popsPerSecond = (popped * 1000) / (performance.now() - begin);
  if (popped !== SCHEDULES || recurrenceOf.length !== SCHEDULES) throw new Error('the queue lost entries');
  return {
    bytesPerSchedule: Math.round(bytesPerSchedule * 10) / 10,
    bytesPerDistinctExpression: Math.round((compiled - before) / DISTINCT),
    compilesPerSecond: Math.round(compilesPerSecond),
    lookupsPerSecond: Math.round(lookupsPerSecond),
    armsPerSecond: Math.round(armsPerSecond),
    popsPerSecond: Math.round(popsPerSecond),
  };
}

const IMPOSSIBLE = ['0 0 30 2 *', '0 0 31 2,4,6,9,11 *', '0 0 L-30 2 *', '0 0 31W 2,4,6,9,11 *'];
const SPARSE = '0 0 ? 2 MON#5';

interface Extremes {
  /** The slowest refusal of an expression that never fires. */
  readonly impossibleMs: number;
  /** The mean of next() for 29 February on a Monday. */
  readonly sparseMicros: number;
}

function measureExtremes(): Extremes {
  let impossibleMs = 0;
  for (const expression of IMPOSSIBLE) {
    const begin = performance.now();
    let refused = false;
    try {
      compile(expression, 'Europe/Berlin');
    } catch {
      refused = true;
    }
    impossibleMs = Math.max(impossibleMs, performance.now() - begin);
    if (!refused) throw new Error(`${expression} was accepted`);
  }
  const sparse = compile(SPARSE, 'Europe/Berlin');
  return {
    impossibleMs: Math.round(impossibleMs * 1000) / 1000,
    sparseMicros: Math.round(1e9 / rate((t) => sparse.next(t), 200)) / 1000,
  };
}

/**
 * `npm run bench -- recurrence [milliseconds per measurement, default 300]`. Prints rows as it goes and returns the
 * result: speeds per core, ratios to the peers in the same run (null where a peer refuses the expression), memory.
 */
export async function run(args: readonly string[]): Promise<object> {
  const ms = Number(args[0] ?? 300);
  if (!(ms > 0)) throw new RangeError('usage: npm run bench -- recurrence [milliseconds per measurement]');
  const rows = await measureNext(ms);
  const memory = measureMemory();
  const extremes = measureExtremes();
  console.log(`a million schedules, ${DISTINCT.toLocaleString('en')} distinct expressions:`, memory);
  console.log('impossible and sparse expressions:', extremes);
  return {
    bench: 'recurrence',
    node: process.version,
    zoneDatabase: ZONE_DATABASE_VERSION,
    rows,
    ...memory,
    ...extremes,
  };
}
