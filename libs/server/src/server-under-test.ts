import { Writable } from 'node:stream';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { ServiceImpl } from '@connectrpc/connect';
import { createLogger } from './logger.ts';
import { createServiceServer, type ServiceServer, type ServiceServerOptions } from './service-server.ts';
import { systemClock, systemEntropy } from './system-clock.ts';

/** A log line as JSON. */
export type LogLine = Readonly<Record<string, unknown>>;

/** Keeps what is logged, for assertions. */
export class LogSink extends Writable {
  readonly lines: LogLine[] = [];
  readonly #waiting = new Set<() => void>();

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const line of chunk.toString().split('\n'))
      if (line !== '') this.lines.push(JSON.parse(line) as LogLine);
    for (const wake of this.#waiting) wake();
    done();
  }

  /** The first line, past or future, that the predicate accepts. */
  async find(accepts: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find(accepts);
      if (found !== undefined) return found;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await promise;
      this.#waiting.delete(resolve);
    }
  }
}

/** A server of the product's protos on a free loopback port, with the handlers a test gives it. */
export interface ServerUnderTest extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly server: ServiceServer;
  readonly log: LogSink;
}

/** What a test decides. */
export interface TestOptions extends Partial<Omit<ServiceServerOptions, 'routes' | 'logger'>> {
  readonly schedules?: Partial<ServiceImpl<typeof ScheduleService>>;
  readonly runs?: Partial<ServiceImpl<typeof RunService>>;
}

/** Builds it, without opening its port. */
export function buildServer({ schedules, runs, ...options }: TestOptions = {}): {
  server: ServiceServer;
  log: LogSink;
} {
  const log = new LogSink();
  const logger = createLogger({ service: 'test', instance: 'test-1', level: 'debug', destination: log });
  const server = createServiceServer({
    name: 'test',
    version: '0.0.0',
    clock: systemClock,
    entropy: systemEntropy,
    ...options,
    logger,
    routes: (router) => {
      router.service(ScheduleService, schedules ?? {});
      router.service(RunService, runs ?? {});
    },
  });
  return { server, log };
}

/** Starts it, on a free port unless told which; `await using` closes it. */
export async function startServer(options: TestOptions = {}, wantedPort = 0): Promise<ServerUnderTest> {
  const { server, log } = buildServer(options);
  const { url, port } = await server.listen({ host: '127.0.0.1', port: wantedPort });
  return { url, port, server, log, [Symbol.asyncDispose]: () => server.close(AbortSignal.abort()) };
}
