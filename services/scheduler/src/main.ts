import { hostname } from 'node:os';
import process from 'node:process';
import { createLogger, describeConfig, runMain, systemClock } from '@carillon/server';
import { createApp } from './app.ts';
import { readSchedulerConfig, schedulerSettings } from './config.ts';

/** Writing down what is settled and handing the lease over takes milliseconds, unless the database is away. */
const RELEASE_LIMIT_MS = 5_000;
/** Calls in flight have their own deadline, which is shorter by default. */
const DRAIN_LIMIT_MS = 10_000;
const CLOSE_LIMIT_MS = 15_000;

const instance = `${hostname()}-${process.pid}`;

if (process.argv.includes('--help')) {
  process.stdout.write(`${describeConfig(schedulerSettings)}\n`);
} else {
  await runMain({
    process,
    clock: systemClock,
    logger: createLogger({ service: 'scheduler', instance }),
    start: async (shutdown) => {
      const app = await createApp(readSchedulerConfig(process.env, instance));
      shutdown
        .phase('hand over', RELEASE_LIMIT_MS, () => app.release())
        .phase('drain', DRAIN_LIMIT_MS, (signal) => app.drain(signal))
        .phase('close', CLOSE_LIMIT_MS, (signal) => app.close(signal));
      await app.ready;
    },
  });
}
