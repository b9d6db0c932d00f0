import { createServer } from 'node:net';

/** Everything listens here, and nowhere else. */
export const LOOPBACK = '127.0.0.1';

/** The preferred port if it is free, else any that is. */
export async function freePort(preferred: number): Promise<number> {
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? preferred;
}

/** The port that could be opened and was closed again; undefined when it is taken, or not allowed. */
function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ host: LOOPBACK, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}

/** The port of a base URL. */
export function portOf(url: string): number {
  return Number(new URL(url).port);
}
