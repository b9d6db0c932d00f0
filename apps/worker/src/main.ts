import { hostname } from 'node:os';
import process from 'node:process';
import { createLogger, describeConfig, runMain, systemClock } from '@carillon/server';
import { createApp } from './app.ts';
import { readWorkerConfig, workerSettings } from './config.ts';

/** On top of the time that tasks get: for those that are stopped, and for telling the runs service. */
const CLOSE_MARGIN_MS = 15_000;

// Process ids are used again; the name must not be.
const instance = `${hostname()}-${process.pid}-${systemClock.now().toString(36)}`;

if (process.argv.includes('--help')) {
  process.stdout.write(`${describeConfig(workerSettings)}\n`);
} else {
  await runMain({
    process,
    clock: systemClock,
    logger: createLogger({ service: 'worker', instance }),
    start: async (shutdown) => {
      const config = readWorkerConfig(process.env, instance);
      const app = createApp(config);
      shutdown.phase('drain', config.drainMs + CLOSE_MARGIN_MS, () => app.close());
      await app.ready;
    },
  });
}
