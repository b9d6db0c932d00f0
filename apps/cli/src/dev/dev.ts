import { resolve } from 'node:path';
import { Command } from 'commander';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { inCheckout } from './checkout.ts';
import { DEV_FOLDER } from './dev-file.ts';
import { acquireDevLock } from './dev-lock.ts';
import type { DevOptions } from './dev-session.ts';

interface CommandOptions extends DevOptions {
  /** Where state is kept. Default: `.carillon` in the checkout. */
  readonly folder?: string;
}

/** `carillon dev`. */
export function devCommand(host: Host): Command {
  return new Command('dev')
    .description('run everything on this machine: PostgreSQL, the three services, a worker and some examples')
    .option('--no-examples', 'do not apply examples/schedules.yaml')
    .option('--no-live', 'print lines instead of the live view, as without a terminal')
    .option('--folder <path>', 'keep state there (default: .carillon in the checkout)')
    .addHelpText(
      'after',
      `
Ctrl-C stops everything in order; the next start goes on where this one ended, and fires what
fell due meanwhile. Addresses, process ids and the database's URL stand in .carillon/dev.json,
logs in .carillon/logs. With DATABASE_URL that database is used, and no PostgreSQL is started.
What dies is started again.
`,
    )
    .action(async (options: CommandOptions) => {
      const folder =
        options.folder === undefined
          ? inCheckout(DEV_FOLDER)
          : resolve(host.workingDirectory, options.folder);
      const lock = await lockFolder(host, folder);
      try {
        // Loaded here, for the database's libraries are heavy and every other command does without.
        const { DevSession } = await import('./dev-session.ts');
        await new DevSession(host, folder, options).run();
      } finally {
        await lock.release();
      }
    });
}

async function lockFolder(host: Host, folder: string): Promise<{ release(): Promise<void> }> {
  try {
    return await acquireDevLock(`${folder}/dev.lock`, host.pid);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new CliError(ExitCode.failed, `${folder} cannot be written`, [
      'It belongs to another user, or cannot be written at all. Start as the user that started before, give',
      'another --folder, or remove this one with all of its data.',
    ]);
  }
}
