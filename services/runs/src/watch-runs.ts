import { invalidArgument } from '@carillon/core/domain-error.ts';
import {
  formatParent,
  formatRunName,
  parseParentPattern,
  parseRunName,
  parseScheduleName,
} from '@carillon/core/resource-name.ts';
import { selectRunsByName } from '@carillon/db/tables/runs.ts';
import type { WatchRunsRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';
import { RunWatch, type WatchedRuns } from './run-watch.ts';

/** How long nothing may change before the stream says that it is alive. */
const HEARTBEAT_MS = 15_000;

/** Streams runs as they change. */
export function watchRuns({ clock, db, feed, metrics }: MethodContext): RunMethod<'watchRuns'> {
  return async function* (request, { signal }) {
    const watched = watchedBy(request);
    const watch = new RunWatch(watched, clock);
    const onAbort = (): void => watch.lost(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    metrics.watching(1);
    // First follow, then look: what changes in between is told twice rather than not at all.
    const unfollow = await feed.follow(watch).catch((error: unknown) => {
      metrics.watching(-1);
      throw error;
    });
    try {
      if (watched.names !== undefined) {
        const names = [...watched.names].map((name) => parseRunName(name));
        watch.changed(
          await selectRunsByName(
            db,
            names.map(({ runId, ...parent }) => ({ ...parent, run_id: runId })),
          ),
        );
      }
      while (!signal.aborted) {
        const rows = await watch.next(HEARTBEAT_MS);
        if (rows.length === 0) yield {};
        for (const row of rows) yield { run: runMessage(row) };
      }
    } finally {
      unfollow();
      signal.removeEventListener('abort', onAbort);
      metrics.watching(-1);
    }
  };
}

function watchedBy({ parent, schedule, names }: WatchRunsRequest): WatchedRuns {
  const pattern = parseParentPattern(parent);
  const within = (found: { readonly project: string; readonly domain: string }, field: string): void => {
    const { project = found.project, domain = found.domain } = pattern;
    if (project === found.project && domain === found.domain) return;
    const description = `is in ${formatParent(found)}, not in the parent`;
    throw invalidArgument({ field, description, reason: 'OTHER_PARENT' });
  };
  const wanted = names.map((name, index) => {
    const parsed = parseRunName(name, `names[${index}]`);
    within(parsed, `names[${index}]`);
    return formatRunName(parsed);
  });
  const scheduleName = schedule === '' ? undefined : parseScheduleName(schedule, 'schedule');
  if (scheduleName !== undefined) within(scheduleName, 'schedule');
  return {
    // The schedule's own project and domain narrow the pattern: ids repeat in others.
    project: scheduleName?.project ?? pattern.project,
    domain: scheduleName?.domain ?? pattern.domain,
    scheduleId: scheduleName?.scheduleId,
    names: wanted.length === 0 ? undefined : new Set(wanted),
  };
}
