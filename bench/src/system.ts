import { createPool } from '@carillon/db';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Stack } from '@carillon/test/support/stack.ts';
import type { Client } from '@connectrpc/connect';
import type pg from 'pg';

/** A system under measurement. */
export interface System {
  readonly stack: Stack;
  readonly pool: pg.Pool;
  readonly schedules: Client<typeof ScheduleService>;
}

/** Where the schedules of a bench are. */
export const PARENT = 'projects/bench/domains/bells';

/** Runs every service as a process of its own on a database, and ends them again. */
export async function withSystem<T>(
  databaseUrl: string,
  work: (system: System) => Promise<T>,
  options: { readonly startScheduler?: boolean; readonly scheduler?: Readonly<Record<string, string>> } = {},
): Promise<T> {
  const pool = createPool({
    url: databaseUrl,
    applicationName: 'carillon-bench',
    max: 2,
    statementTimeoutMs: 0,
    onError: (error) => console.error(error),
  });
  const nodeArguments = profiled(process.env.BENCH_PROFILE);
  const stack = await Stack.start({ databaseUrl, nodeArguments, ...options });
  try {
    const result = await work({ stack, pool, schedules: stack.schedulesClient() });
    stack.succeeded();
    return result;
  } finally {
    await pool.end();
    await stack.stop();
  }
}

/** With BENCH_PROFILE=FOLDER every service leaves a CPU profile there. */
function profiled(folder: string | undefined): Readonly<Record<string, readonly string[]>> {
  if (folder === undefined) return {};
  const of = (service: string): readonly string[] => [
    '--cpu-prof',
    `--cpu-prof-dir=${folder}`,
    `--cpu-prof-name=${service}-${Date.now()}.cpuprofile`,
  ];
  return { scheduler: of('scheduler'), runs: of('runs'), schedules: of('schedules') };
}

/** Creates schedules of one slot a second, 32 at a time. */
export async function createBells(
  schedules: Client<typeof ScheduleService>,
  prefix: string,
  count: number,
): Promise<void> {
  let next = 0;
  const creator = async (): Promise<void> => {
    while (next < count) {
      await schedules.createSchedule({
        parent: PARENT,
        scheduleId: `${prefix}-${next++}`,
        schedule: {
          spec: {
            pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
            run: { task: 'bench.ring' },
          },
        },
      });
    }
  };
  await Promise.all(Array.from({ length: 32 }, creator));
}
