import { parentPort, workerData } from 'node:worker_threads';
import type { Failure, Lived, WorkerOrders } from './campaign.ts';
import { injectBug } from './inject-bug.ts';

/** Lives the histories that it is given the seeds of: one thread of a campaign. */
if (parentPort === null) throw new Error('this is a thread of a campaign');
const port = parentPort;
const { bug } = workerData as WorkerOrders;
// Before anything else is loaded.
if (bug !== undefined) injectBug(bug);
// Errors are made by the thousand, and nobody looks at where.
Error.stackTraceLimit = 0;
const { planOf } = await import('./plan.ts');
const { trial } = await import('./trial.ts');

async function live(seeds: readonly string[]): Promise<Lived> {
  const failures: Failure[] = [];
  let slots = 0;
  for (const seed of seeds) {
    const outcome = await trial(planOf(seed));
    slots += outcome.slots;
    if (outcome.violations.length > 0) failures.push({ seed, violations: outcome.violations });
  }
  return { histories: seeds.length, slots, failures };
}

port.on('message', async (seeds: readonly string[]) => port.postMessage(await live(seeds)));
