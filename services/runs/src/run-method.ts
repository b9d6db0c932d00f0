import type { Clock, Entropy } from '@carillon/core/clock.ts';
import type { RunDb } from '@carillon/db/tables/runs.ts';
import type { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import type { RequestValidator } from '@carillon/server';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Dispatcher } from './dispatcher.ts';
import type { RunCompleter } from './run-completer.ts';
import type { RunCreator } from './run-creator.ts';
import type { RunFeed } from './run-feed.ts';
import type { RunHints } from './run-hints.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What the methods of RunService and WorkerService work with. */
export interface MethodContext {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly creator: RunCreator;
  readonly completer: RunCompleter;
  readonly dispatcher: Dispatcher;
  readonly feed: RunFeed;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
  readonly validator: RequestValidator;
  readonly retentionDays: number;
  readonly leaseTtlMs: number;
}

/** One method of RunService, by its name. */
export type RunMethod<Name extends keyof ServiceImpl<typeof RunService>> = ServiceImpl<
  typeof RunService
>[Name];

/** One method of WorkerService, by its name. */
export type WorkerMethod<Name extends keyof ServiceImpl<typeof WorkerService>> = ServiceImpl<
  typeof WorkerService
>[Name];
