import type { Command } from 'commander';
import type { Host } from '../host.ts';
import { type StateOptions, stateCommand } from './state-command.ts';

interface PauseOptions extends StateOptions {
  readonly reason?: string;
}

/** `carillon schedules pause`. */
export function schedulePauseCommand(host: Host): Command {
  return stateCommand<PauseOptions>(host, {
    name: 'pause',
    description: 'stop a schedule from firing until it is unpaused',
    configure: (command) => command.option('--reason <text>', 'why, for those who wonder later'),
    examples: ['carillon schedules pause payments/production/settle --reason "ledger is being migrated"'],
    call: async ({ client, call }, request, { reason = '' }) =>
      (await client.pauseSchedule({ ...request, reason }, call)).schedule,
  });
}
