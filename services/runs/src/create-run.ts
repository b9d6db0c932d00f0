import { checkRules } from './create-run-rules.ts';
import { stateOf } from './keyed-creation.ts';
import { newRunOf } from './new-run.ts';
import { createdRow, runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** Creates a run, once. */
export function createRun({ clock, creator, entropy, validator }: MethodContext): RunMethod<'createRun'> {
  return async (request) => {
    checkRules(validator, request);
    const run = newRunOf(request, { nowMicros: clock.now() * 1000, entropy });
    const creation = request.validateOnly ? await creator.rehearse(run) : await creator.create(run);
    if (creation.createMicros === undefined) throw creation.error;
    const message = runMessage(createdRow({ ...run, ...stateOf(creation.decision) }, creation.createMicros));
    return { run: message, outcome: message.outcome };
  };
}
