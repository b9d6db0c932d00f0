// Starts a server in the folder of the first argument, prints what came of it as one JSON line, and stays until
// it is ended. Run as a process of its own by the tests, which kill it.
import { startEmbeddedPostgres } from '../index.ts';
import { systemClock } from './system-clock.ts';

const [dataDir] = process.argv.slice(2);
if (dataDir === undefined) throw new Error('usage: launcher.ts <folder>');
try {
  const server = await startEmbeddedPostgres({ dataDir, clock: systemClock, log: () => undefined });
  process.on('SIGTERM', () => void server.stop());
  process.stdout.write(`${JSON.stringify({ url: server.url, pid: server.pid })}\n`);
  await server.exited;
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: error instanceof Error ? error.name : String(error) })}\n`);
}
