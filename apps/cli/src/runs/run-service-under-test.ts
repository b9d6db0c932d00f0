import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Run,
  RunKind,
  RunPhase,
  RunSchema,
  RunSpecSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService, type WatchRunsRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { Code, ConnectError, createRouterTransport, type Transport } from '@connectrpc/connect';

/** A stream's script: runs and heartbeats in order; an error ends it. */
export type WatchScript = readonly (Run | 'heartbeat' | ConnectError)[];

/** The API's side of the command line's tests. */
export class FakeRunService {
  readonly runs = new Map<string, Run>();
  /** Every request, by method, in order. */
  readonly requests: { readonly method: string; readonly request: unknown }[] = [];
  /** What each stream sends, the first one first; without one left, a stream stays silent until it is cancelled. */
  readonly scripts: WatchScript[] = [];

  /** Adds a run. */
  add(id: string, phase: RunPhase, more: Partial<Run> = {}): Run {
    const run = create(RunSchema, {
      name: `projects/p/domains/d/runs/${id}`,
      kind: RunKind.SLOT,
      schedule: 'projects/p/domains/d/schedules/s',
      phase,
      version: 1n,
      attempt: 1,
      nominalTime: timestampFromMs(60_000),
      fireTime: timestampFromMs(60_004),
      startTime: timestampFromMs(60_010),
      endTime: timestampFromMs(60_052),
      spec: create(RunSpecSchema, { task: 'settle' }),
    });
    Object.assign(run, more);
    this.runs.set(run.name, run);
    return run;
  }

  /** A transport to it, in memory. */
  transport(): Transport {
    const get = (name: string): Run => {
      const run = this.runs.get(name);
      if (run === undefined) throw new ConnectError(`${name} not found`, Code.NotFound);
      return run;
    };
    const watch = (request: WatchRunsRequest, signal: AbortSignal) => this.#watch(request, signal);
    return createRouterTransport(({ service }) => {
      service(RunService, {
        createRun: (request) => {
          this.requests.push({ method: 'create', request });
          const run = this.add(request.runId || 'generated', RunPhase.QUEUED, {
            kind: RunKind.AD_HOC,
            schedule: '',
          });
          return { run };
        },
        getRun: ({ name }) => ({ run: get(name) }),
        listRuns: (request) => {
          this.requests.push({ method: 'list', request });
          return { runs: [...this.runs.values()] };
        },
        abortRun: (request) => {
          this.requests.push({ method: 'abort', request });
          return { run: get(request.name) };
        },
        watchRuns: async function* (request, { signal }) {
          yield* watch(request, signal);
        },
      });
    });
  }

  async *#watch(request: WatchRunsRequest, signal: AbortSignal): AsyncGenerator<{ run?: Run }> {
    this.requests.push({ method: 'watch', request });
    const script = this.scripts.shift();
    for (const step of script ?? []) {
      if (step instanceof ConnectError) throw step;
      if (step === 'heartbeat') {
        yield {};
      } else {
        this.runs.set(step.name, step);
        yield { run: step };
      }
    }
    if (script === undefined) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }
}
