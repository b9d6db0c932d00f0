import { Command } from 'commander';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { CHECKOUT, inCheckout } from './checkout.ts';
import { DEV_FOLDER } from './dev-file.ts';
import { acquireDevLock } from './dev-lock.ts';
import { DevSession } from './dev-session.ts';

/** The options of `carillon dev`. */
export interface DevOptions {
  /** The schedules to apply; false: none. */
  readonly examples: boolean;
  /** False: lines instead of the live view. */
  readonly live: boolean;
}

/** `carillon dev`. */
export function devCommand(host: Host): Command {
  return new Command('dev')
    .description('run everything on this machine: PostgreSQL, the three services, a worker and some examples')
    .option('--no-examples', 'do not apply examples/schedules.yaml')
    .option('--no-live', 'print lines instead of the live view, as without a terminal')
    .addHelpText(
      'after',
      `
Ctrl-C stops everything in order; the next start goes on where this one ended, and fires what
fell due meanwhile. Addresses, process ids and the database's URL stand in .carillon/dev.json,
logs in .carillon/logs. With DATABASE_URL that database is used, and no PostgreSQL is started.
What dies is started again.
`,
    )
    .action(async (options: DevOptions) => {
      const folder = inCheckout(DEV_FOLDER);
      const lock = await lockCheckout(host, folder);
      try {
        await new DevSession(host, folder, options).run();
      } finally {
        await lock.release();
      }
    });
}

async function lockCheckout(host: Host, folder: string): Promise<{ release(): Promise<void> }> {
  try {
    return await acquireDevLock(`${folder}/dev.lock`, host.pid);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new CliError(ExitCode.failed, `${folder} cannot be written`, [
      `It belongs to another user, or ${CHECKOUT} cannot be written at all. Start as the user that started before,`,
      `or remove ${folder} with all of its data.`,
    ]);
  }
}
