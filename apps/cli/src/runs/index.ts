import { Command } from 'commander';
import type { Host } from '../host.ts';
import { runAbortCommand } from './abort.ts';
import { runCreateCommand } from './create.ts';
import { runGetCommand } from './get.ts';
import { runListCommand } from './list.ts';
import { runWatchCommand } from './watch.ts';

/** `carillon runs …`. */
export function runsCommand(host: Host): Command {
  return new Command('runs')
    .alias('run')
    .description('create, list, watch and abort runs')
    .addCommand(runListCommand(host))
    .addCommand(runGetCommand(host))
    .addCommand(runWatchCommand(host))
    .addCommand(runCreateCommand(host))
    .addCommand(runAbortCommand(host));
}
