import { Command } from 'commander';
import { usageError } from '../exit-code.ts';

/** `carillon schedules create`, which many will type first: says what to use instead. Not in the help. */
export function scheduleCreateCommand(): Command {
  return new Command('create')
    .alias('update')
    .description('schedules are created, and changed, by "apply"')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      throw usageError(
        'schedules are created, and changed, by "carillon schedules apply -f FILE"',
        '"carillon schedules apply --help" shows such a file, "carillon schedules preview" when a schedule would fire.',
      );
    });
}
