import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { Client } from '@connectrpc/connect';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { parentName } from '../resource-argument.ts';
import { watchRuns } from './run-feed.ts';
import { isTerminal } from './run-phase.ts';

/**
 * Follows runs until all of them have ended, and answers their last states in the order of the names.
 * @throws CliError when interrupted.
 */
export async function awaitRuns(
  host: Host,
  client: Client<typeof RunService>,
  names: readonly string[],
  onChange: (run: Run) => void,
): Promise<Run[]> {
  const ended = new Map<string, Run>();
  const request = { parent: parentName({ project: '-', domain: '-' }), schedule: '', names };
  const { clock, entropy, interrupted: signal } = host;
  for await (const run of watchRuns(request, { client, clock, entropy, signal })) {
    onChange(run);
    if (isTerminal(run)) ended.set(run.name, run);
    if (ended.size === new Set(names).size) return names.flatMap((name) => ended.get(name) ?? []);
  }
  throw new CliError(ExitCode.interrupted, 'interrupted; the runs go on');
}
