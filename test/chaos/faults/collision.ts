import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { runName } from '@carillon/core/run-name.ts';
import { RunKind } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Fault } from '../fault.ts';
import { PROJECT, until } from '../scenario.ts';

export const collision: Fault = {
  name: 'collision',
  numbers: [14],
  story:
    "A stranger's run bears the name of a slot's run. The slot is dead, and said to be; nothing else suffers.",
  async run(scenario) {
    const { stack, pool } = scenario;
    await scenario.ringing();
    const [bell] = scenario.bells;
    if (bell === undefined) throw new Error('there is no bell');
    const nominalSec = Math.floor(Date.now() / 1000) + 3;
    const { project, domain, schedule } = bell;
    const parent = `projects/${project}/domains/${domain}`;
    scenario.strangers.add('stranger');
    await stack.runsClient().createRun({
      parent,
      runId: runName({ project, domain, schedule, nominalSec, kind: 'slot', id: '' }),
      spec: { task: 'chaos.stranger' },
      kind: RunKind.SLOT,
      schedule: `${parent}/schedules/stranger`,
      scheduleUid: '00000000-0000-4000-8000-000000000000',
      scheduleRevision: 1,
      nominalTime: timestampFromMs(nominalSec * 1000),
      fireTime: timestampFromMs(nominalSec * 1000),
    });
    await until(
      async () => {
        const { rows } = await pool.query<{ reason: string; nominal: number }>(
          `select l.reason, extract(epoch from l.nominal_time)::float8 as nominal
          from slot_ledger l join schedules s on s.id = l.schedule
          where s.project = $1 and s.schedule_id = $2 and l.outcome = 'DEAD'`,
          [PROJECT, schedule],
        );
        return rows.length === 1 && rows[0]?.reason === 'COLLISION' && rows[0].nominal === nominalSec;
      },
      'the slot is dead because of the collision',
      15_000,
    );
    const alarms = await stack.scheduler.metric(
      'carillon_scheduler_slots_without_run_total',
      'reason="COLLISION"',
    );
    if (alarms !== 1) throw new Error(`${alarms} collisions are counted`);
    return { latenessLimitMs: 2_000, mayWriteOff: true };
  },
};
