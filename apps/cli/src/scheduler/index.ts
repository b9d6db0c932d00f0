import { Command } from 'commander';
import type { Host } from '../host.ts';
import { schedulerHandOverCommand } from './hand-over.ts';
import { schedulerStatusCommand } from './status.ts';

/** `carillon scheduler …`. */
export function schedulerCommand(host: Host): Command {
  return new Command('scheduler')
    .description('see which scheduler leads, and hand over to another')
    .addCommand(schedulerStatusCommand(host))
    .addCommand(schedulerHandOverCommand(host));
}
