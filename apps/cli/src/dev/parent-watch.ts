/**
 * Loaded before a child's own code (`node --import`): `carillon dev` holds the other end of standard input, so its end
 * means that `carillon dev` is gone, and the child shuts down as if it had been told to.
 */
import { systemClock } from '@carillon/server/system-clock.ts';

const GRACE_MS = 20_000;

process.stdin.on('end', leave).on('error', leave).resume();
// A pipe, which keeps a process alive as long as it is read; a child with nothing to do may end.
if ('unref' in process.stdin && typeof process.stdin.unref === 'function') process.stdin.unref();

function leave(): void {
  process.kill(process.pid, 'SIGTERM');
  systemClock.after(GRACE_MS, () => process.kill(process.pid, 'SIGKILL'));
}
