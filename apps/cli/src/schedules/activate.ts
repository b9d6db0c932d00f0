import { type Command, Option } from 'commander';
import { positiveInteger } from '../command-options.ts';
import type { Host } from '../host.ts';
import { type StateOptions, stateCommand } from './state-command.ts';

interface ActivateOptions extends StateOptions {
  readonly revision?: number;
}

/** `carillon schedules activate`. */
export function scheduleActivateCommand(host: Host): Command {
  return stateCommand<ActivateOptions>(host, {
    name: 'activate',
    description: 'make a revision the active one: the newest, unless told otherwise',
    configure: (command) =>
      command.addOption(
        new Option('--revision <number>', 'the revision').argParser(positiveInteger(2_147_483_647)),
      ),
    examples: [
      'carillon schedules activate payments/production/settle',
      'carillon schedules activate payments/production/settle --revision 3',
    ],
    call: async ({ client, call }, request, { revision = 0 }) =>
      (await client.activateSchedule({ ...request, revision }, call)).schedule,
  });
}
