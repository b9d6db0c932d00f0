import type { LedTerm } from './catch-up-rules.ts';
import { type Fault, LAST_MOMENTS_MS, type Plan } from './plan.ts';
import { Replica } from './replica.ts';
import type { ScheduleRows } from './schedule-rows.ts';
import { type ScheduleSlots, untoldSlots } from './schedule-slots.ts';
import type { WrittenLedgerRow } from './sim-database.ts';
import type { KeyEvent } from './sim-keys.ts';
import { SimManagement } from './sim-management.ts';
import type { RedriveRow } from './sim-redrives.ts';
import { type SimRun, SimRuns } from './sim-runs.ts';
import { WatermarkMonitor } from './watermark-monitor.ts';
import { type RepairedQuarantine, World } from './world.ts';

/** What was left of a world when it had come to rest: what the checker judges. */
export interface History {
  readonly plan: Plan;
  readonly schedules: readonly ScheduleRows[];
  readonly slotsOf: (schedule: ScheduleRows) => ScheduleSlots;
  readonly runs: readonly SimRun[];
  /** By schedule, nominal time and outcome. */
  readonly ledger: ReadonlyMap<string, WrittenLedgerRow>;
  /** What happened to runs with concurrency keys, in its order. */
  readonly keyEvents: readonly KeyEvent[];
  /** All redrives that were asked for, and those of which nothing had come. */
  readonly redrives: readonly RedriveRow[];
  readonly openRedrives: readonly RedriveRow[];
  /** When the shards were led that a schedule belonged to, by the database's clock. */
  readonly termsOf: (schedule: ScheduleRows) => readonly LedTerm[];
  /** Every slot due up to here had time to get an outcome, by the database's clock. */
  readonly settledByMs: number;
  /** Whether the database's clock was ever set; set back. */
  readonly databaseSteps: boolean;
  readonly databaseStepsBack: boolean;
  /** Since when schedules may have been in quarantine, by the database's clock. */
  readonly troubledSinceMs: ReadonlyMap<number, number>;
  /** When schedules certainly were. */
  readonly quarantines: readonly RepairedQuarantine[];
  /** Rules that were broken while the world went on. */
  readonly violations: readonly string[];
  /** What happened, if it was to be told. */
  readonly story: readonly string[];
  readonly happened: number;
}

/** How long a world may take to come to rest after its last fault: retries are made every 30 s at the latest. */
const REST_LIMIT_MS = 120_000;
/** A slot that fell due this recently may be on its way. */
const ON_ITS_WAY_MS = 3_000;
/** Transactions that come to nothing in the last moments of a database. */
const BURNT_IDS = 10;
/** More than this happens only if something spins. */
const MOST_HAPPENINGS = 1_000_000;

/** Lets a plan happen, until all that fell due has its outcome or had more than enough time. */
export async function live(plan: Plan, tell = false): Promise<History> {
  const world = new World(plan, tell);
  const { time, database } = world;
  const runs = new SimRuns(world);
  // One that was refused is dead only when no copy of the request can be accepted any more.
  const onItsWayMs = ON_ITS_WAY_MS + plan.settings.leaseTtlMs;
  const steps = plan.faults.filter(({ kind }) => kind === 'database-step').map(({ stepMs }) => stepMs);
  const aheadMs = steps.reduce((sum, step) => sum + Math.max(0, step), 0);
  const monitor = new WatermarkMonitor(
    world,
    runs,
    plan.epochMs + plan.faultsEndMs + REST_LIMIT_MS + aheadMs,
  );
  const management = new SimManagement(world);
  const replicas = plan.replicas.map((_, index) => new Replica(world, runs, index));
  world.changed = () => {
    for (const replica of replicas) replica.hint('schedules');
  };
  world.redriven = () => {
    for (const replica of replicas) replica.hint('redrives');
  };
  world.released = () => {
    for (const replica of replicas) replica.hint('leases');
  };
  database.told = (flush) =>
    world.tell(
      () =>
        `flush of ${flush.owner} for ${flush.shard}: frontier ${Math.max(...flush.throughMs)}, ${flush.units.length} units, snapshot ${flush.feedSnapshot}, laggards ${JSON.stringify(flush.laggards)}, caught up ${flush.caughtUp}, ledger rows ${flush.ledger.length}`,
    );
  management.start();
  plan.replicas.forEach(
    ({ startMs }, index) => void time.after(startMs, () => replicas[index]!.start(false)),
  );
  for (const { atMs, assignment, replica, abruptly } of plan.shardings.slice(1)) {
    time.after(atMs, () => {
      world.tell(() => `replica ${replica} is configured with version ${assignment.version} of the sharding`);
      replicas[replica]!.reconfigure(assignment, abruptly);
    });
  }
  for (const fault of plan.faults) {
    if (fault.kind === 'promotion') {
      const lagMs = Math.min(Math.abs(fault.stepMs), fault.atMs);
      time.after(fault.atMs - lagMs, () => {
        const restore = [database.copy(), runs.copy(), management.copy()];
        time.after(lagMs, () => promote(world, replicas, monitor, restore, lagMs, fault.forMs));
      });
    } else time.after(fault.atMs, () => strike(world, replicas, runs, management, fault));
  }

  const isAtRest = (): boolean => {
    if (database.redrives.openSize > 0) return false;
    const settledByMs = database.now() - onItsWayMs;
    for (const schedule of database.schedules.values()) {
      const { all, pauses } = monitor.slotsOf(schedule);
      for (const slot of all) {
        if (slot.dueMs > settledByMs) continue;
        if (!monitor.isSettled(schedule, slot)) return false;
      }
      for (const pause of pauses) {
        const [first] = untoldSlots(pause, schedule.id, database.ledger);
        if (first !== undefined && !database.ledger.has(`${schedule.id} ${first * 1000} SKIPPED`))
          return false;
      }
    }
    return true;
  };
  let ended = false;
  let restedFor = 0;
  const look = (): void => {
    restedFor = isAtRest() ? restedFor + 1 : 0;
    if (restedFor === 3 || time.nowMs > plan.faultsEndMs + REST_LIMIT_MS) ended = true;
    else time.after(1_000, look);
  };
  time.after(plan.faultsEndMs + onItsWayMs, look);
  const onRejection = (error: unknown): void => {
    world.violated(
      `a rejection that nobody handled: ${error instanceof Error ? error.stack : String(error)}`,
    );
  };
  process.on('unhandledRejection', onRejection);
  try {
    await time.run(() => {
      if (time.happened > MOST_HAPPENINGS) {
        world.violated('something spins');
        return true;
      }
      return ended || world.violations.length > 0;
    });
  } finally {
    for (const replica of replicas) replica.end();
    process.off('unhandledRejection', onRejection);
  }
  return {
    plan,
    schedules: [...database.schedules.values()],
    slotsOf: (schedule) => monitor.slotsOf(schedule),
    runs: [...runs.runs.values()],
    ledger: database.ledger,
    keyEvents: runs.keyEvents,
    redrives: database.redrives.requests,
    openRedrives: [...database.redrives.open],
    termsOf: ({ unit, name }) => database.leases.termsOf({ hashSlot: unit, ...name }),
    settledByMs: ended ? database.now() - onItsWayMs : Number.NEGATIVE_INFINITY,
    databaseSteps: steps.length > 0,
    databaseStepsBack: steps.some((step) => step < 0),
    troubledSinceMs: world.troubledSinceMs,
    quarantines: world.quarantines,
    violations: world.violations,
    story: world.story ?? [],
    happened: time.happened,
  };
}

/** A standby takes the place of the database, which has not got the last commits of it. */
function promote(
  world: World,
  replicas: readonly Replica[],
  monitor: WatermarkMonitor,
  restore: readonly (() => void)[],
  lagMs: number,
  downMs: number,
): void {
  world.tell(() => `promotion of a standby that has lost ${lagMs} ms, after ${downMs} ms`);
  world.incarnation++;
  for (const part of restore) part();
  monitor.forget();
  world.flights.forget();
  world.conditions.databaseDown = true;
  world.time.after(downMs, () => {
    world.tell(() => 'the promotion ends');
    world.conditions.databaseDown = false;
    for (const replica of replicas) replica.listening();
  });
}

function strike(
  world: World,
  replicas: readonly Replica[],
  runs: SimRuns,
  management: SimManagement,
  fault: Fault,
): void {
  const { conditions, database, time } = world;
  const { kind, forMs, stepMs } = fault;
  const replica = replicas[fault.replica]!;
  const forAWhile = (begin: () => void, end: () => void): void => {
    begin();
    time.after(forMs, () => {
      world.tell(() => `${kind} ends`);
      end();
    });
  };
  /** Somebody repairs a schedule: by a change, or by starting the schedulers anew. */
  const repair = (schedule: ScheduleRows): void => {
    if (fault.sameName && management.scheduleOf(fault.name) === schedule) management.touch(fault.name);
    else for (const each of replicas) each.crash(false);
  };
  world.tell(
    () => `${kind} (replica ${fault.replica}, ${forMs} ms${kind.endsWith('step') ? `, ${stepMs} ms` : ''})`,
  );
  switch (kind) {
    case 'crash':
      replica.crash(fault.sameName);
      break;
    case 'outage':
      for (const each of replicas) each.goDown(forMs);
      break;
    case 'freeze':
      replica.freeze(forMs);
      break;
    case 'hand-over':
      replica.handOver();
      break;
    case 'give-away':
      replica.giveAway();
      break;
    case 'database-cut':
      forAWhile(
        () => conditions.databaseCut.add(fault.replica),
        () => {
          conditions.databaseCut.delete(fault.replica);
          replica.listening();
        },
      );
      break;
    case 'runs-cut':
      forAWhile(
        () => conditions.runsCut.add(fault.replica),
        () => conditions.runsCut.delete(fault.replica),
      );
      break;
    case 'runs-down':
      forAWhile(
        () => (conditions.runsDown = true),
        () => (conditions.runsDown = false),
      );
      break;
    case 'runs-slow':
      forAWhile(
        () => (conditions.runsSlow = true),
        () => (conditions.runsSlow = false),
      );
      break;
    case 'runs-losing-answers':
      forAWhile(
        () => (conditions.runsLosingAnswers = true),
        () => (conditions.runsLosingAnswers = false),
      );
      break;
    case 'runs-exhausted':
      forAWhile(
        () => (conditions.runsExhausted = true),
        () => (conditions.runsExhausted = false),
      );
      break;
    case 'runs-crash':
      runs.crash();
      break;
    case 'database-crash':
      // What is read shortly before has seen ids that will be handed out again.
      database.transactions.burn(BURNT_IDS);
      world.changed();
      time.after(forMs % LAST_MOMENTS_MS, () => {
        runs.crash();
        world.incarnation++;
        management.undone(database.transactions.crash());
        forAWhile(
          () => (conditions.databaseDown = true),
          () => {
            conditions.databaseDown = false;
            for (const each of replicas) each.listening();
          },
        );
      });
      break;
    case 'promotion':
      throw new RangeError('a promotion begins with a copy');
    case 'rows-refused': {
      const schedule = management.scheduleOf(fault.name);
      if (!schedule || conditions.refused.has(schedule.id)) break;
      forAWhile(
        () => {
          conditions.refused.add(schedule.id);
          world.troubled(schedule.id);
        },
        () => {
          conditions.refused.delete(schedule.id);
          repair(schedule);
        },
      );
      break;
    }
    case 'timing-unreadable': {
      const schedule = management.scheduleOf(fault.name);
      const revision = schedule?.revisions.at(-1);
      if (!schedule || !revision || revision.isUnreadable) break;
      const { incarnation } = world;
      forAWhile(
        () => {
          revision.isUnreadable = true;
          revision.wasUnreadable = true;
          world.troubled(schedule.id);
          // Else it is noticed by who reads it next.
          if (stepMs > 0) management.touch(fault.name);
        },
        () => {
          revision.isUnreadable = false;
          if (world.incarnation === incarnation) world.repaired(schedule);
          repair(schedule);
        },
      );
      break;
    }
    case 'wall-step':
      replica.process?.stepWall(stepMs);
      break;
    case 'database-step':
      database.stepClock(stepMs);
      break;
  }
}
