import type { Clock } from '@carillon/core/clock.ts';
import { ConfigError } from './config.ts';
import type { Logger } from './logger.ts';
import { Shutdown } from './shutdown.ts';

/** The part of Node's `process` that {@link runMain} uses; `main.ts` alone hands in the real one. */
export type MainProcess = Pick<NodeJS.Process, 'on' | 'exit'>;

/** How a service runs as a process. */
export interface MainOptions {
  /** `process` itself. */
  readonly process: MainProcess;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Builds the service, starts it, and adds one shutdown phase for each thing it opened, as soon as it is open:
   * whatever was added also runs when the rest of the start fails, and when a signal comes in between.
   */
  readonly start: (shutdown: Shutdown) => Promise<void>;
}

/**
 * Runs a service until SIGTERM or SIGINT. Exits with 0 after a clean shutdown; with 1 when the start or a phase
 * failed, after an uncaught error, and at once on a second signal.
 */
export async function runMain({ process, clock, logger, start }: MainOptions): Promise<void> {
  const shutdown = new Shutdown({ clock, logger });
  let signals = 0;
  let failed = false;

  const end = async (reason: string): Promise<void> => {
    const clean = await shutdown.run(reason);
    process.exit(clean && !failed ? 0 : 1);
  };
  const onSignal = (name: NodeJS.Signals): void => {
    signals += 1;
    if (signals > 1) {
      logger.warn({ signal: name }, 'second signal: exiting at once');
      process.exit(1);
      return;
    }
    void end(name);
  };
  const onFatal =
    (kind: string) =>
    (error: unknown): void => {
      logger.fatal({ err: error }, kind);
      failed = true;
      void end(kind);
    };

  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('uncaughtException', onFatal('uncaught exception'));
  process.on('unhandledRejection', onFatal('unhandled rejection'));

  try {
    await start(shutdown);
  } catch (error) {
    // A signal during the start makes the start fail too; that is not a second fault.
    if (shutdown.signal.aborted) return;
    if (error instanceof ConfigError) logger.fatal({ faults: error.faults }, 'configuration is not usable');
    else logger.fatal({ err: error }, 'start failed');
    failed = true;
    await end('start failed');
  }
}
