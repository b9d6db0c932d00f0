import type { Clock, Entropy } from '@carillon/core/clock.ts';
import {
  createCarillonTransport,
  createLogger,
  type Logger,
  systemClock,
  systemEntropy,
} from '@carillon/server';
import { createWorker } from '@carillon/worker';
import type { WorkerConfig } from './config.ts';
import { requestHttp } from './request-http.ts';
import { runCommand } from './run-command.ts';

/** The version that the runs service is told. */
const VERSION = 'carillon-example-worker/0.1.0';

/** What may be replaced, before anything is built. */
export interface WorkerOverrides {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Default: the system's. */
  readonly entropy?: Entropy;
  /** Default: JSON lines on standard output, at the configured level. */
  readonly logger?: Logger;
}

/** A running example worker. */
export interface App {
  /** Resolves when the runs service knows it. While that is out of reach it goes on trying. */
  readonly ready: Promise<void>;
  /** Leases nothing more, and ends when the running tasks have finished, or were stopped after the configured time. */
  close(): Promise<void>;
}

/** Builds the worker and starts it. */
export function createApp(config: WorkerConfig, overrides: WorkerOverrides = {}): App {
  const { clock = systemClock, entropy = systemEntropy } = overrides;
  const logger =
    overrides.logger ??
    createLogger({ service: 'worker', instance: config.instance, level: config.logLevel });
  const transport = createCarillonTransport({ baseUrl: config.runsUrl });
  const worker = createWorker({
    transport,
    worker: config.instance,
    queues: config.queues,
    slots: config.slots,
    version: VERSION,
    handlers: {
      command: runCommand({ allowed: config.allowedCommands, clock }),
      'http.request': requestHttp({ clock }),
    },
    clock,
    entropy,
    logger,
  });
  const ready = worker.start().then(() => {
    const { queues, slots, runsUrl } = config;
    logger.info({ queues, slots, runsUrl }, 'working');
  });
  // Whoever waits for it is told of an end before it; nobody has to.
  ready.catch(() => undefined);
  let closed: Promise<void> | undefined;
  return {
    ready,
    close() {
      closed ??= worker.drain(config.drainMs).finally(() => transport.close());
      return closed;
    },
  };
}
