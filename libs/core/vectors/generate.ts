/**
 * Writes generated.jsonl: `node libs/core/vectors/generate.ts`. What is expected comes from the brute-force walk
 * (libs/core/src/recurrence-oracle.ts), never from the engine. Rows by hand are in hand-made.jsonl.
 */
import { writeFileSync } from 'node:fs';
import { type OracleSpec, oracleNext } from '../src/recurrence-oracle.ts';

const GAPS = ['AUTO', 'NEXT_VALID', 'SHIFT', 'SKIP'] as const;
const OVERLAPS = ['AUTO', 'FIRST', 'LAST', 'BOTH'] as const;

/** Changes of the clocks that have happened, or are rules of long standing: the day before each, in UTC. */
const CHANGES: readonly (readonly [string, string, string])[] = [
  ['berlin-spring', 'Europe/Berlin', '2026-03-28T12:00:00Z'],
  ['berlin-autumn', 'Europe/Berlin', '2026-10-24T12:00:00Z'],
  ['new-york-spring', 'America/New_York', '2025-03-08T18:00:00Z'],
  ['new-york-autumn', 'America/New_York', '2025-11-01T18:00:00Z'],
  ['lord-howe-spring', 'Australia/Lord_Howe', '2025-10-04T02:00:00Z'],
  ['lord-howe-autumn', 'Australia/Lord_Howe', '2025-04-05T02:00:00Z'],
  ['sao-paulo-midnight-gap', 'America/Sao_Paulo', '2018-11-03T12:00:00Z'],
  ['sao-paulo-midnight-overlap', 'America/Sao_Paulo', '2018-02-17T12:00:00Z'],
  ['beirut-midnight-gap', 'Asia/Beirut', '2022-03-26T12:00:00Z'],
  ['apia-skipped-date', 'Pacific/Apia', '2011-12-29T12:00:00Z'],
  ['kwajalein-skipped-date', 'Pacific/Kwajalein', '1993-08-20T20:00:00Z'],
  ['casablanca-ramadan-overlap', 'Africa/Casablanca', '2024-03-09T12:00:00Z'],
  ['casablanca-ramadan-gap', 'Africa/Casablanca', '2024-04-13T12:00:00Z'],
  ['cairo-fourth-change', 'Africa/Cairo', '2014-07-31T06:00:00Z'],
  ['caracas-half-hour-overlap', 'America/Caracas', '2007-12-08T12:00:00Z'],
  ['caracas-half-hour-gap', 'America/Caracas', '2016-04-30T12:00:00Z'],
  ['pyongyang-half-hour', 'Asia/Pyongyang', '2015-08-14T06:00:00Z'],
  ['troll-two-hours-gap', 'Antarctica/Troll', '2025-03-29T12:00:00Z'],
  ['troll-two-hours-overlap', 'Antarctica/Troll', '2025-10-25T12:00:00Z'],
  ['monrovia-odd-seconds', 'Africa/Monrovia', '1972-01-06T12:00:00Z'],
];

/** Expressions whose times touch what those changes leave out or repeat. */
const TIMES: readonly (readonly [string, OracleSpec['dialect'], string, number])[] = [
  ['fixed', 'STANDARD', '30 0,1,2,23 * * *', 9],
  ['interval', 'STANDARD', '*/20 0-2 * * *', 24],
  ['midnight', 'STANDARD', '0 0 * * *', 3],
  ['gap-only-interval', 'STANDARD', '*/15 2 * * *', 9],
  ['seconds', 'SECONDS', '30 */15 0-3 * * *', 30],
  ['aws', 'AWS', '15,45 1,2 * * ? *', 8],
];

/** What the fields can say, by dialect. */
const FEATURES: Readonly<Record<OracleSpec['dialect'], readonly string[]>> = {
  STANDARD: [
    '* * * * *',
    '*/7 * * * *',
    '5/15 * * * *',
    '10-40/10 * * * *',
    '50-10/5 * * * *',
    '0,1,1,59 * * * *',
    '0 */5 * * *',
    '0 22-4/4 * * *',
    '0 22-2 * * *',
    '0 9-17/4 * * 1-5',
    '0 0 */10 * *',
    '0 0 1-31 * *',
    '0 0 28-3 * *',
    '0 0 5/10 * *',
    '0 0 1,15,31 * *',
    '0 0 L * *',
    '0 0 L-0 * *',
    '0 0 L-3 * *',
    '0 0 L-30 * *',
    '0 0 L,15 * *',
    '0 0 LW * *',
    '0 0 l-1w * *',
    '0 0 1W * *',
    '0 0 15W * *',
    '0 0 30W * *',
    '0 0 31W * *',
    '0 0 1W,LW * *',
    '0 0 13 * FRI',
    '0 0 13 * 5,SAT',
    '0 0 */2 * MON',
    '0 0 * * MON',
    '0 0 ? * MON',
    '0 0 13 * ?',
    '0 0 ? * ?',
    '0 0 13 * *',
    '0 0 L * FRI',
    '0 0 1-7 * */2',
    '0 0 1-7 * MON',
    '0 0 */29 2 MON',
    '0 0 ? 2 MON#5',
    '0 0 29 2 *',
    '0 0 31 * *',
    '0 0 * * 0',
    '0 0 * * 7',
    '0 0 * * 0,7',
    '0 0 * * 0-7',
    '0 0 * * 7-2',
    '0 0 * * 5-7',
    '0 0 * * 1/2',
    '0 0 * * 0/3',
    '0 0 * * FRI-MON',
    '0 0 * * friday-Monday/2',
    '0 0 * * SUN-SUN',
    '0 0 * * MON#1',
    '0 0 * * 7#5',
    '0 0 * * TUESDAY#2,thu#4',
    '0 0 * * FRIL',
    '0 0 * * 5L',
    '0 0 * * 0L,MON#1',
    '0 0 * * WED,5L',
    '0 0 1 JAN *',
    '0 0 1 january,Jul *',
    '0 0 1 NOV-FEB *',
    '0 0 1 11-2/2 *',
    '0 0 1 */5 *',
    '0 0 1 3/4 *',
    '@yearly',
    '@ANNUALLY',
    '@Monthly',
    '@weekly',
    '@daily',
    '@midnight',
    '@hourly',
    ' \t 0   0\t*  * * ',
    'H * * * *',
    'H H * * *',
    'h(0-29)/10 * * * *',
    'H/15 H(9-17) * * *',
    'H H H * *',
    'H H * * H',
    'H H 1 H *',
    'H(50-10) H(22-2)/2 * * *',
    'H 0 * * H(MON-FRI)',
  ],
  SECONDS: [
    '* * * * * *',
    '*/13 * * * * *',
    '30 0 * * * *',
    '5/20 59 23 * * *',
    '55-5/2 * * * * *',
    'H H H * * *',
    'H/20 * * * * *',
    '0 0 12 LW * *',
    '15,45 0 0 1 1 *',
    '0 0 0 ? * MON#2',
    '@daily',
    '@hourly',
    '59 59 23 31 12 *',
    '0 30 2 29 FEB *',
  ],
  AWS: [
    '0 10 * * ? *',
    '15 12 * * ? *',
    '0 18 ? * MON-FRI *',
    '0 8 1 * ? *',
    '0/15 * * * ? *',
    '0/10 * ? * MON-FRI *',
    '0/5 8-17 ? * MON-FRI *',
    '0 9 ? * 2#1 *',
    '0 9 ? * 6L *',
    '0 9 ? * L *',
    '0 9 ? * 1 *',
    '0 9 ? * 7 *',
    '0 9 ? * 7-2 *',
    '0 9 ? * 1/2 *',
    '0 9 ? * SAT-SUN *',
    '0 9 L * ? *',
    '0 9 LW * ? *',
    '0 9 3W * ? *',
    '0 9 L-2 * ? *',
    '0 0 1 1 ? 2027',
    '0 0 1 1 ? 2026-2030/2',
    '0 0 29 2 ? *',
    '0 0 29 2 ? 2028,2196',
    '0 0 1 1 ? */50',
    '0 0 1 1 ? 2190/3',
    '0 0 ? 2 SUN#5 *',
    'H H ? * H *',
    '0 0 ? * SUN#5,TUEL 2026',
  ],
};

const AFTERS = ['2026-01-01T00:00:00Z', '2027-12-31T23:59:59Z', '2024-02-28T17:31:07Z'];

interface Row extends Omit<OracleSpec, 'timeZone'> {
  readonly id: string;
  readonly timezone: string;
  readonly after: string;
  readonly count: number;
}

function slug(text: string): string {
  return text.trim().replace(/\s+/g, '_');
}

function* rows(): Generator<Row> {
  for (const [change, timezone, after] of CHANGES) {
    for (const [times, dialect, expression, count] of TIMES) {
      for (const dstGap of GAPS) {
        for (const dstOverlap of OVERLAPS) {
          // Without a gap, or an overlap, near by its policy changes nothing: one row stands for the others.
          const forwards = /spring|gap|skipped|odd/.test(change);
          if (forwards ? dstOverlap !== 'AUTO' : dstGap !== 'AUTO') continue;
          const id = `dst/${change}/${times}/${dstGap}/${dstOverlap}`;
          yield { id, dialect, expression, timezone, after, count, dstGap, dstOverlap };
        }
      }
    }
  }
  const policies = { dstGap: 'AUTO', dstOverlap: 'AUTO' } as const;
  for (const dialect of ['STANDARD', 'SECONDS', 'AWS'] as const) {
    for (const expression of FEATURES[dialect]) {
      for (const [n, after] of AFTERS.entries()) {
        for (const timezone of ['UTC', 'Asia/Kolkata', 'America/Los_Angeles']) {
          const hashed = /(^|\s)h/i.test(expression) ? { identity: `acme/prod/report-${n}` } : {};
          const id = `field/${dialect}/${slug(expression)}/${timezone}/${n}`;
          yield { id, dialect, expression, timezone, after, count: 5, ...policies, ...hashed };
        }
      }
    }
  }
}

function utc(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

const lines: string[] = [];
for (const row of rows()) {
  const { id, after, count, timezone, ...spec } = row;
  const next = oracleNext({ ...spec, timeZone: timezone }, Date.parse(after) / 1000, count);
  lines.push(JSON.stringify({ ...row, next: next.map(utc) }));
}
writeFileSync(new URL('generated.jsonl', import.meta.url), `${lines.join('\n')}\n`);
console.log(`${lines.length} rows`);
