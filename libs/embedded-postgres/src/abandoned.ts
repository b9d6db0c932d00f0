import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@carillon/core/clock.ts';
import { isAlive, makeWay } from './postmaster.ts';
import { isRoot, unprivilegedUser } from './run-as.ts';

/**
 * Stops and removes throw-away servers whose launchers were killed: every cluster in `parent` that is named
 * `prefix` and the process id of a launcher that is no more, with a word after it or not (`prefix-4711-unit`). Those of other
 * users are left alone.
 */
export async function removeAbandonedServers(
  parent: string,
  prefix: string,
  { clock, log }: { readonly clock: Clock; readonly log: (line: string) => void },
): Promise<void> {
  const owners = isRoot() ? [0, unprivilegedUser().identity?.uid] : [process.getuid?.()];
  for (const name of await readdir(parent)) {
    // "-<pid>" at the end: a launcher that was killed during initdb.
    const launcher = name.startsWith(prefix)
      ? /^(\d+)(-\w+){0,2}$/.exec(name.slice(prefix.length))?.[1]
      : undefined;
    if (launcher === undefined || isAlive(Number(launcher))) continue;
    const dir = join(parent, name);
    // Another run may be sweeping too.
    const found = await stat(dir).catch(() => undefined);
    if (!found || !owners.includes(found.uid)) continue;
    await makeWay(join(dir, 'data'), clock, log);
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}
