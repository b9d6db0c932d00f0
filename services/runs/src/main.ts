import { hostname } from 'node:os';
import process from 'node:process';
import { createLogger, describeConfig, runMain, systemClock } from '@carillon/server';
import { createApp } from './app.ts';
import { readRunsConfig, runsSettings } from './config.ts';

/** Calls in flight get ten seconds; then what is open is cut and closed. */
const CLOSE_LIMIT_MS = 15_000;

const instance = `${hostname()}-${process.pid}`;

if (process.argv.includes('--help')) {
  process.stdout.write(`${describeConfig(runsSettings)}\n`);
} else {
  await runMain({
    process,
    clock: systemClock,
    logger: createLogger({ service: 'runs', instance }),
    start: async (shutdown) => {
      const app = await createApp(readRunsConfig(process.env, instance));
      shutdown.phase('close', CLOSE_LIMIT_MS, (signal) => app.close(signal));
      await app.ready;
    },
  });
}
