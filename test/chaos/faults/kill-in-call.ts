import { Code, ConnectError } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';
import type { Scenario } from '../scenario.ts';

export const killInCall: Fault = {
  name: 'kill-in-call',
  numbers: [1, 2],
  story:
    'SIGKILL of the scheduler while its calls are under way: by turns before the runs service hears of them, and when it has created their runs but not answered.',
  setUp: { gateway: true, bells: 20 },
  async run(scenario, length) {
    const { stack, gateway } = scenario;
    const kills = length === 'full' ? 20 : 6;
    let [unsent, unanswered] = [0, 0];
    await scenario.ringing();
    for (let kill = 0; kill < kills; kill++) {
      const created = kill % 2 === 1;
      const asked = new Set<string>();
      const underWay = Promise.withResolvers<void>();
      const dead = Promise.withResolvers<void>();
      gateway.interference = async (call) => {
        if (created) await call.forward();
        for (const { runId } of call.requests) asked.add(runId);
        underWay.resolve();
        await dead.promise;
        throw new ConnectError('nobody listens any more', Code.Unavailable);
      };
      await underWay.promise;
      await stack.scheduler.kill();
      const runs = await count(scenario, [...asked]);
      if (runs !== (created ? asked.size : 0))
        throw new Error(`${runs} runs of ${asked.size} that were asked for`);
      dead.resolve();
      gateway.behave();
      await stack.scheduler.start();
      await scenario.ringing();
      if ((await count(scenario, [...asked])) !== asked.size)
        throw new Error('not all of them were sent again');
      if (created) unanswered += asked.size;
      else unsent += asked.size;
    }
    return { latenessLimitMs: 8_000, figures: { kills, unsent, unanswered } };
  },
};

/** How many of these runs exist. */
async function count({ pool }: Scenario, runIds: readonly string[]): Promise<number> {
  const { rows } = await pool.query<{ runs: number }>(
    'select count(*)::int as runs from runs where run_id = any ($1)',
    [runIds],
  );
  return rows[0]?.runs ?? 0;
}
