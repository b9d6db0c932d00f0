import type { Command } from 'commander';
import type { Host } from '../host.ts';
import { stateCommand } from './state-command.ts';

/** `carillon schedules deactivate`. */
export function scheduleDeactivateCommand(host: Host): Command {
  return stateCommand(host, {
    name: 'deactivate',
    description: 'make no revision active: it stops firing',
    examples: ['carillon schedules deactivate payments/production/settle'],
    call: async ({ client, call }, request) => (await client.deactivateSchedule(request, call)).schedule,
  });
}
