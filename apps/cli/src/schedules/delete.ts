import type { Command } from 'commander';
import type { Host } from '../host.ts';
import { type StateOptions, stateCommand } from './state-command.ts';

interface DeleteOptions extends StateOptions {
  readonly allowMissing?: boolean;
}

/** `carillon schedules delete`. */
export function scheduleDeleteCommand(host: Host): Command {
  return stateCommand<DeleteOptions>(host, {
    name: 'delete',
    description: 'delete a schedule; its runs and its history stay',
    configure: (command) => command.option('--allow-missing', 'succeed if there is none'),
    examples: ['carillon schedules delete payments/production/settle'],
    call: async ({ client, call }, request, { allowMissing = false }) =>
      (await client.deleteSchedule({ ...request, allowMissing }, call)).schedule,
  });
}
