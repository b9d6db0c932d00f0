import { create } from '@bufbuild/protobuf';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import { notFound } from '@carillon/core/domain-error.ts';
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '@carillon/gen/grpc/health/v1/health_pb.ts';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Readiness } from './readiness.ts';

/** How often a watch looks at readiness; a drain is told at once. */
const WATCH_INTERVAL_MS = 5_000;

/**
 * gRPC health from readiness. All services of a process share what they stand on, so they share its status; the
 * empty name means the server as a whole.
 */
export function healthService(options: {
  readonly clock: Clock;
  readonly readiness: Readiness;
  /** Full names of the services that this server offers. */
  readonly services: ReadonlySet<string>;
}): ServiceImpl<typeof Health> {
  const { clock, readiness, services } = options;
  const isKnown = (service: string): boolean => service === '' || services.has(service);
  const status = async (): Promise<HealthCheckResponse> => {
    const { ready } = await readiness.evaluate();
    return create(HealthCheckResponseSchema, {
      status: ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING,
    });
  };
  return {
    async check({ service }) {
      if (!isKnown(service)) throw notFound('grpc.Service', service);
      return status();
    },

    async *watch({ service }, { signal }) {
      let last: ServingStatus | undefined;
      while (!signal.aborted) {
        const current = isKnown(service)
          ? await status()
          : create(HealthCheckResponseSchema, { status: ServingStatus.SERVICE_UNKNOWN });
        if (current.status !== last) yield current;
        last = current.status;
        await nextLook(clock, readiness.draining, signal);
      }
    },
  };
}

/** Resolves after the interval, at the drain, or when the call ends. */
async function nextLook(clock: Clock, draining: AbortSignal, call: AbortSignal): Promise<void> {
  const wake = AbortSignal.any(draining.aborted ? [call] : [draining, call]);
  await sleep(clock, WATCH_INTERVAL_MS, wake).catch(() => undefined);
}

export { Health };
