import { sleep } from '@carillon/core/clock.ts';
import type { Host } from '../host.ts';
import type { DevProcess } from './dev-file.ts';
import { processIdentity } from './process-identity.ts';

const PATIENCE_MS = 8_000;
const POLL_MS = 50;

/**
 * Ends what an earlier `carillon dev` left behind when it was killed: asks first, insists after 8 s. A process that only
 * has the same id as one of ours is left alone. PostgreSQL comes last, after those that use it.
 */
export async function endOrphans(
  host: Pick<Host, 'clock' | 'kill'>,
  processes: readonly DevProcess[],
  log: (line: string) => void,
): Promise<void> {
  const isServer = ({ name }: DevProcess): boolean => name === 'postgres';
  for (const group of [processes.filter((entry) => !isServer(entry)), processes.filter(isServer)]) {
    await Promise.all(group.map((entry) => endOrphan(host, entry, isServer(entry), log)));
  }
}

async function endOrphan(
  { clock, kill }: Pick<Host, 'clock' | 'kill'>,
  { name, pid, identity }: DevProcess,
  isServer: boolean,
  log: (line: string) => void,
): Promise<void> {
  const isOurs = async (): Promise<boolean> => (await processIdentity(pid)) === identity;
  if (!(await isOurs())) return;
  log(`ending ${name} (process ${pid}), which an earlier start left behind`);
  // Our processes lead groups of their own, with their commands in them. PostgreSQL signals its own children, and takes
  // SIGTERM for "when everybody has gone home".
  const target = isServer ? pid : -pid;
  kill(target, isServer ? 'SIGINT' : 'SIGTERM');
  const deadline = clock.monotonic() + PATIENCE_MS;
  while (await isOurs()) {
    if (clock.monotonic() > deadline) {
      log(`${name} (process ${pid}) does not end by itself: killing it`);
      kill(target, isServer ? 'SIGQUIT' : 'SIGKILL');
      return;
    }
    await sleep(clock, POLL_MS);
  }
}
