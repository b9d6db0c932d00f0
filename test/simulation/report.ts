import type { Report } from './campaign.ts';
import type { Plan } from './plan.ts';
import { planOf } from './plan.ts';
import { shrink } from './shrink.ts';
import { trial } from './trial.ts';

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
