import { Command } from 'commander';
import type { Host } from '../host.ts';
import { scheduleActivateCommand } from './activate.ts';
import { scheduleApplyCommand } from './apply.ts';
import { scheduleCreateCommand } from './create.ts';
import { scheduleDeactivateCommand } from './deactivate.ts';
import { scheduleDeleteCommand } from './delete.ts';
import { scheduleExplainCommand } from './explain.ts';
import { scheduleGetCommand } from './get.ts';
import { scheduleListCommand } from './list.ts';
import { schedulePauseCommand } from './pause.ts';
import { schedulePreviewCommand } from './preview.ts';
import { scheduleRedriveCommand } from './redrive.ts';
import { scheduleRevisionsCommand } from './revisions.ts';
import { scheduleSlotsCommand } from './slots.ts';
import { scheduleUnpauseCommand } from './unpause.ts';

/** `carillon schedules …`. */
export function schedulesCommand(host: Host): Command {
  return new Command('schedules')
    .alias('schedule')
    .description('create, change, list and preview schedules, and see what became of their slots')
    .addCommand(scheduleApplyCommand(host))
    .addCommand(scheduleCreateCommand(), { hidden: true })
    .addCommand(scheduleListCommand(host))
    .addCommand(scheduleGetCommand(host))
    .addCommand(schedulePreviewCommand(host))
    .addCommand(scheduleSlotsCommand(host))
    .addCommand(scheduleExplainCommand(host))
    .addCommand(scheduleRedriveCommand(host))
    .addCommand(scheduleActivateCommand(host))
    .addCommand(scheduleDeactivateCommand(host))
    .addCommand(schedulePauseCommand(host))
    .addCommand(scheduleUnpauseCommand(host))
    .addCommand(scheduleRevisionsCommand(host))
    .addCommand(scheduleDeleteCommand(host));
}
