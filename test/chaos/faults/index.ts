import type { Fault } from '../fault.ts';
import { killPostgres } from './kill-postgres.ts';
import { killScheduler } from './kill-scheduler.ts';

/** Every fault, in the order in which they are run. */
export const faults: readonly Fault[] = [killScheduler, killPostgres];
