import { Counter, collectDefaultMetrics, Gauge, Histogram, type Registry } from 'prom-client';
import type { Call } from './call.ts';

/** From half a millisecond, a cached read, to a minute, the longest poll. In seconds. */
const DURATION_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** What is counted of every call, and of the process. Names and labels are an interface: dashboards read them. */
export class CallMetrics {
  readonly #handled: Counter<'service' | 'method' | 'code'>;
  readonly #duration: Histogram<'service' | 'method' | 'code'>;
  readonly #inFlight: Gauge<'service' | 'method'>;

  /** Registers all of it, and prom-client's default metrics (event loop lag, heap, GC), once per registry. */
  constructor(registry: Registry, connections: () => number) {
    const registers = [registry];
    collectDefaultMetrics({ register: registry });
    this.#handled = new Counter({
      name: 'carillon_rpc_server_handled_total',
      help: 'Calls that have ended, by their gRPC code (OK when they went well).',
      labelNames: ['service', 'method', 'code'],
      registers,
    });
    this.#duration = new Histogram({
      name: 'carillon_rpc_server_duration_seconds',
      help: 'Time from the headers of a call to the last byte of its answer.',
      labelNames: ['service', 'method', 'code'],
      buckets: DURATION_BUCKETS,
      registers,
    });
    this.#inFlight = new Gauge({
      name: 'carillon_rpc_server_in_flight',
      help: 'Calls that have begun and not ended.',
      labelNames: ['service', 'method'],
      registers,
    });
    new Gauge({
      name: 'carillon_server_connections',
      help: 'Open TCP connections of the port.',
      registers,
      collect() {
        this.set(connections());
      },
    });
  }

  /** A call has begun. */
  began({ service, method }: Call): void {
    this.#inFlight.inc({ service, method });
  }

  /** It has ended, after `durationMs`. */
  ended(call: Call, durationMs: number): void {
    const { service, method } = call;
    const code = call.code ?? 'UNKNOWN';
    this.#inFlight.dec({ service, method });
    this.#handled.inc({ service, method, code });
    this.#duration.observe({ service, method, code }, durationMs / 1000);
  }
}
