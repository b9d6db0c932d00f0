import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';
import type { Scenario } from '../scenario.ts';

export const killPostgres: Fault = {
  name: 'kill-postgres',
  numbers: [5],
  story: 'SIGKILL of PostgreSQL under load; it comes back after a while. No service may end.',
  async run(scenario, length) {
    const { database, stack } = scenario;
    const outages = length === 'full' ? [10_000, 10_000, 60_000] : [5_000];
    await scenario.firing(stack.scheduler);
    let longestMs = 0;
    let recoveryMs = 0;
    for (const outageMs of outages) {
      await scenario.ringing();
      await delay(scenario.random.between(0, 3_000));
      const killedAtMs = performance.now();
      await database.kill();
      await delay(outageMs);
      await checkUnavailable(scenario);
      await database.restart();
      const returnedAtMs = performance.now();
      await scenario.ringing();
      recoveryMs = Math.max(recoveryMs, performance.now() - returnedAtMs);
      longestMs = Math.max(longestMs, returnedAtMs - killedAtMs);
      await scenario.checkWatermarks();
    }
    for (const service of stack.services) {
      if (service.deaths.length > 0) {
        throw new Error(
          `${service.name} ended: ${JSON.stringify(service.deaths)}\n${service.log().slice(-2_000)}`,
        );
      }
    }
    return {
      // All that fell due meanwhile fires within 5 s of its return.
      latenessLimitMs: longestMs + 5_000,
      figures: { longestOutageMs: Math.round(longestMs), slowestRecoveryMs: Math.round(recoveryMs) },
    };
  },
};

/** @throws Error unless a caller is told that it may try again later */
async function checkUnavailable({ schedules }: Scenario): Promise<void> {
  const answer = await schedules.listSchedules({ parent: 'projects/-/domains/-' }).then(
    () => undefined,
    (error: unknown) => ConnectError.from(error),
  );
  if (answer?.code !== Code.Unavailable)
    throw new Error(`a caller is told: ${answer?.message ?? 'all is well'}`);
}
