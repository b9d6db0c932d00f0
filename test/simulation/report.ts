import type { Plan } from './plan.ts';
import { planOf } from './plan.ts';
import { shrink } from './shrink.ts';
import { trial } from './trial.ts';

/** What a row of histories came to; what `npm run simulate` prints last. */
export interface Report {
  readonly histories: number;
  readonly slots: number;
  readonly failures: number;
  readonly perSecond: number;
}

/** Which histories to live. */
export interface Campaign {
  readonly seed: string;
  /** How many at most. */
  readonly histories: number;
  /** Default: no limit. */
  readonly limitMs?: number;
  /** Told the seed of each history that fails, and the first rules that it broke. */
  readonly onFailure: (seed: string, violations: readonly string[]) => void;
  /** Ends at this many failures. Default: 10. */
  readonly mostFailures?: number;
}

/** The seed of one history of a campaign: by it alone it can be lived again. */
export function seedOf(seed: string, index: number): string {
  return `${seed}-${index}`;
}

/** Lives one history after another. */
export async function campaign({
  seed,
  histories,
  limitMs,
  onFailure,
  mostFailures = 10,
}: Campaign): Promise<Report> {
  const startedAtMs = performance.now();
  const elapsedMs = (): number => performance.now() - startedAtMs;
  let slots = 0;
  let failures = 0;
  let index = 0;
  while (
    index < histories &&
    failures < mostFailures &&
    elapsedMs() < (limitMs ?? Number.POSITIVE_INFINITY)
  ) {
    const each = seedOf(seed, index++);
    const outcome = await trial(planOf(each));
    slots += outcome.slots;
    if (outcome.violations.length === 0) continue;
    failures++;
    onFailure(each, outcome.violations);
  }
  return { histories: index, slots, failures, perSecond: Math.round((index / elapsedMs()) * 10_000) / 10 };
}

/** Lives a failing history again, makes it small, and tells it. */
export async function replay(seed: string, write: (line: string) => void): Promise<Report> {
  const startedAtMs = performance.now();
  const whole = planOf(seed);
  const first = await trial(whole);
  const plan = first.violations.length > 0 ? await shrink(whole) : whole;
  const { history, slots, violations } = await trial(plan, true);
  for (const line of describePlan(plan)) write(line);
  write('');
  for (const line of history.story) write(line);
  write('');
  for (const violation of violations) write(`*** ${violation}`);
  if (violations.length === 0) write('nothing is wrong with this history');
  const perSecond = Math.round(10_000 / (performance.now() - startedAtMs)) / 10;
  return { histories: 1, slots, failures: violations.length > 0 ? 1 : 0, perSecond };
}

function describePlan({
  seed,
  settings,
  replicas,
  redrives,
  faults,
  crashes,
  verdicts,
  faultsEndMs,
}: Plan): string[] {
  return [
    `seed ${seed}: ${replicas.length} replicas, faults until ${faultsEndMs / 1000} s`,
    `settings: ${JSON.stringify(settings)}`,
    ...replicas.map((replica, index) => `replica ${index}: ${JSON.stringify(replica)}`),
    ...redrives.map((request) => `redrive: ${JSON.stringify(request)}`),
    ...faults.map((fault) => `fault: ${JSON.stringify(fault)}`),
    ...crashes.map((crash) => `crash: ${JSON.stringify(crash)}`),
    ...verdicts.map((verdict) => `the runs service: ${JSON.stringify(verdict)}`),
  ];
}
