import type { Fault } from '../fault.ts';
import { blackHole } from './black-hole.ts';
import { blockedLoop } from './blocked-loop.ts';
import { blueGreen } from './blue-green.ts';
import { clockSteps } from './clock-steps.ts';
import { collision } from './collision.ts';
import { connectionResets } from './connection-resets.ts';
import { daylightSaving } from './daylight-saving.ts';
import { diskFull } from './disk-full.ts';
import { everyClock } from './every-clock.ts';
import { everyCode } from './every-code.ts';
import { frozenLeader } from './frozen-leader.ts';
import { halfOpenListener } from './half-open-listener.ts';
import { killInCall } from './kill-in-call.ts';
import { killInCatchUp } from './kill-in-catch-up.ts';
import { killInFlush } from './kill-in-flush.ts';
import { killPostgres } from './kill-postgres.ts';
import { killScheduler } from './kill-scheduler.ts';
import { lateCommits } from './late-commits.ts';
import { lostAnswers } from './lost-answers.ts';
import { monthLongGap } from './month-long-gap.ts';
import { movingShards } from './moving-shards.ts';
import { notifyStorm } from './notify-storm.ts';
import { poison } from './poison.ts';
import { pooler } from './pooler.ts';
import { promotion } from './promotion.ts';
import { resharding } from './resharding.ts';
import { shortConnections } from './short-connections.ts';
import { slowAnswers } from './slow-answers.ts';
import { twoLeaders } from './two-leaders.ts';
import { versions } from './versions.ts';

/** Every fault, in the order in which they are run. */
export const faults: readonly Fault[] = [
  killScheduler,
  killInCall,
  killInFlush,
  killInCatchUp,
  killPostgres,
  frozenLeader,
  blockedLoop,
  twoLeaders,
  movingShards,
  resharding,
  blueGreen,
  versions,
  blackHole,
  connectionResets,
  shortConnections,
  slowAnswers,
  everyCode,
  lostAnswers,
  collision,
  clockSteps,
  everyClock,
  daylightSaving,
  halfOpenListener,
  notifyStorm,
  lateCommits,
  diskFull,
  pooler,
  promotion,
  poison,
  monthLongGap,
];
