import type { Command } from 'commander';
import type { Host } from '../host.ts';
import { stateCommand } from './state-command.ts';

/** `carillon schedules unpause`. */
export function scheduleUnpauseCommand(host: Host): Command {
  return stateCommand(host, {
    name: 'unpause',
    description: 'let a paused schedule fire again, from now on',
    examples: ['carillon schedules unpause payments/production/settle'],
    call: async ({ client, call }, request) => (await client.unpauseSchedule(request, call)).schedule,
  });
}
