import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import { SmallDisk } from '../../support/small-disk.ts';
import type { Fault } from '../fault.ts';

const HONEST: readonly Code[] = [Code.Unavailable, Code.ResourceExhausted, Code.DeadlineExceeded];

export const diskFull: Fault = {
  name: 'disk-full',
  numbers: [22],
  story:
    "The database's disk is full for a while. Callers are told; when there is room again, everything goes on.",
  available: () => (SmallDisk.possible() ? undefined : 'only root may mount a small disk'),
  setUp: { diskMb: 384 },
  async run(scenario, length) {
    const { disk, database, schedules } = scenario;
    const fullMs = length === 'full' ? 30_000 : 8_000;
    await scenario.ringing();
    const beginMs = performance.now();
    const codes = new Map<string, number>();
    while (performance.now() - beginMs < fullMs) {
      // Again and again: the server frees some by itself.
      await disk.fill();
      const code = await schedules
        .createSchedule(
          {
            parent: 'projects/others/domains/bells',
            scheduleId: `full-${Math.round(performance.now())}`,
            schedule: {
              spec: {
                pattern: { case: 'cron', value: { expression: '0 0 1 1 *' } },
                run: { task: 'chaos.ring', labels: { padding: 'x'.repeat(60) } },
              },
            },
          },
          { timeoutMs: 3_000 },
        )
        .then(
          () => 'accepted',
          (error: unknown) => {
            const { code, rawMessage } = ConnectError.from(error);
            if (!HONEST.includes(code)) throw new Error(`callers are told ${Code[code]}: ${rawMessage}`);
            return Code[code];
          },
        );
      codes.set(code, (codes.get(code) ?? 0) + 1);
      await delay(250);
    }
    disk.clear();
    const stopped = !database.running;
    // Where not even its log can be written, PostgreSQL ends; whoever runs it starts it again.
    if (stopped) await database.restart();
    await scenario.ringing();
    for (const service of scenario.stack.services) {
      if (service.deaths.length > 0) throw new Error(`${service.name} ended`);
    }
    return {
      latenessLimitMs: fullMs + 40_000,
      figures: { fullMs, serverStopped: Number(stopped), ...Object.fromEntries(codes) },
    };
  },
};
