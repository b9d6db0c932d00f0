import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const LATENESS_BUCKETS_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400,
];

/** What a shard shows of itself, at each scrape: all zero while another replica leads it. */
export interface ShardGauged {
  readonly leading: boolean;
  readonly schedules: number;
  readonly ready: number;
  readonly outstanding: number;
  readonly retries: number;
  readonly callsInFlight: number;
  readonly laggards: number;
  readonly quarantined: number;
  /** Seconds between now and the frontier. */
  readonly watermarkAgeSeconds: number;
  /** Seconds since the feed was last known to be complete. */
  readonly feedLagSeconds: number;
  readonly epoch: number;
  /** About how many missed slots wait to be sent. */
  readonly backlog: number;
}

/** What the shards of a process share. */
export interface SharedGauged {
  readonly tokens: number;
  /** 0 closed, 1 half-open, 2 open. */
  readonly breaker: number;
  /** How far this machine's wall clock is ahead of the database's. */
  readonly wallClockAheadSeconds: number;
}

/** What a process shows of itself: the sums over its shards, or the greatest of them. */
export interface Gauged extends Omit<ShardGauged, 'leading'>, SharedGauged {
  /** How many shards it leads. */
  readonly leading: number;
  /** How many there are. */
  readonly shards: number;
  readonly assignmentVersion: number;
}

const GAUGES: Record<keyof Gauged, readonly [name: string, help: string]> = {
  leading: ['leader', 'How many shards this process leads: 1 or 0, if there is one only'],
  shards: ['shards', 'How many shards there are'],
  assignmentVersion: ['assignment_version', 'The version of the sharding that is followed'],
  schedules: ['schedules', 'Schedules in memory'],
  ready: ['ready_streams', 'Schedules, or stretches of them, whose next slot is due and waits to be sent'],
  outstanding: ['outstanding_slots', 'Slots that are handed out and not settled'],
  retries: ['retrying_slots', 'Slots that wait to be sent again'],
  callsInFlight: ['calls_in_flight', 'Calls to the runs service without an answer yet'],
  laggards: ['laggards', 'Schedules with a watermark of their own, behind the frontier'],
  quarantined: [
    'quarantined_schedules',
    'Schedules that cannot be planned, or whose outcomes cannot be written down',
  ],
  watermarkAgeSeconds: [
    'watermark_age_seconds',
    'How far the stored frontier is behind: of the shard that is furthest',
  ],
  tokens: ['tokens', 'Tokens in the bucket'],
  breaker: ['breaker_state', '0 closed, 1 half-open, 2 open'],
  feedLagSeconds: [
    'feed_lag_seconds',
    'Time since the change feed was last read to its end: of the shard with the longest',
  ],
  wallClockAheadSeconds: [
    'wall_clock_ahead_seconds',
    "How far this machine's wall clock is ahead of the database's",
  ],
  epoch: ['epoch', 'The fencing token of the term: of several, the greatest'],
  backlog: ['backlog_slots', 'About how many missed slots wait to be sent'],
};

/** The scheduler's metrics. */
export class SchedulerMetrics {
  /** The dispatcher failed in a way that nobody foresaw. */
  readonly jobPanics: Counter;
  /** A schedule could not be planned, or what became of its slots not be written down. */
  readonly scheduleFailures: Counter;
  /** Settling without a run failed, and is tried again. */
  readonly catchUpErrors: Counter;
  /** Slots whose sending failed, by attempt. */
  readonly failedFires: Counter;
  /** Slots for which a run exists. */
  readonly successfulFires: Counter<'class'>;
  readonly lateness: Histogram<'class'>;
  readonly batchSize: Histogram;
  readonly retries: Counter<'reason'>;
  /** Slots settled without a run. */
  readonly writtenOff: Counter<'outcome' | 'reason'>;
  /** Dead slots that were sent again, by what came of it. */
  readonly redrives: Counter<'outcome'>;
  readonly failedLooks: Counter;
  /** Slots on which the last look found something new. */
  readonly decidedAnew: Counter;
  readonly otherSpec: Counter;
  readonly flushes: Counter<'result'>;
  /** Ledger rows that the database refuses. */
  readonly refusedRows: Counter;
  readonly feedChanges: Counter;
  /** Schedules that only the full comparison found to have changed. */
  readonly feedMissed: Counter;
  /** Terms that ended because a standby was promoted, or a backup restored. */
  readonly databaseChanges: Counter;
  /** Schedules with changes that had been read, and that such a database does not have. */
  readonly lostChanges: Counter;
  readonly armDelay: Histogram;
  readonly clockSteps: Counter<'direction'>;
  readonly stalls: Counter;
  readonly clockErrors: Counter;

  /** @param gauged what the gauges show, asked at each scrape */
  constructor(registry: Registry, gauged: () => Gauged) {
    const registers = [registry];
    const counter = <T extends string>(name: string, help: string, labelNames: T[] = []): Counter<T> =>
      new Counter({ name: `carillon_scheduler_${name}_total`, help, labelNames, registers });
    this.jobPanics = counter('job_panics', 'Failures of the dispatcher itself');
    this.scheduleFailures = counter(
      'schedule_failures',
      'Schedules that were quarantined: they could not be planned, or their outcomes not be written down',
    );
    this.catchUpErrors = counter(
      'catch_up_errors',
      'Failures while settling slots without a run; each is tried again',
    );
    this.failedFires = counter('failed_fires', 'Attempts that created no run');
    this.successfulFires = counter('successful_fires', 'Slots for which a run exists', ['class']);
    this.retries = counter('retries', 'Slots put back to be sent again', ['reason']);
    this.writtenOff = counter('slots_without_run', 'Slots settled without a run', ['outcome', 'reason']);
    this.redrives = counter('redrives', 'Dead slots that were sent again, by what came of it', ['outcome']);
    this.failedLooks = counter('failed_looks', 'Last looks that failed');
    this.decidedAnew = counter('decided_anew', 'Slots that a change overtook before they were sent');
    this.otherSpec = counter('other_spec', 'Slots whose run exists with another spec');
    this.flushes = counter('flushes', 'Flushes of watermarks and ledger', ['result']);
    this.refusedRows = counter(
      'refused_ledger_rows',
      'Outcomes that could not be written down: their schedules are in quarantine',
    );
    this.feedChanges = counter('feed_changes', 'Changed schedules read from the feed');
    this.feedMissed = counter('feed_missed', 'Changed schedules that only the full comparison found');
    this.databaseChanges = counter(
      'database_changes',
      'Terms that ended because a standby was promoted, or a backup restored',
    );
    this.lostChanges = counter(
      'lost_changes',
      'Schedules with changes that had been read, and that a promoted or restored database does not have',
    );
    this.clockSteps = counter('clock_steps', 'Steps of the wall clock, and suspensions of the machine', [
      'direction',
    ]);
    this.stalls = counter('stalls', 'Times at which the process stood still for longer than it should');
    this.clockErrors = counter(
      'clock_errors',
      "Minutes in which the wall clock differed from the database's by more than 1 s",
    );
    this.lateness = new Histogram({
      name: 'carillon_scheduler_lateness_seconds',
      help: 'Fire time - due time',
      labelNames: ['class'],
      buckets: LATENESS_BUCKETS_S,
      registers,
    });
    this.batchSize = new Histogram({
      name: 'carillon_scheduler_batch_size',
      help: 'Runs per call',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    });
    this.armDelay = new Histogram({
      name: 'carillon_scheduler_arm_delay_seconds',
      help: 'Time from the hint of a change to its being armed',
      buckets: LATENESS_BUCKETS_S,
      registers,
    });
    const gauges: [keyof Gauged, Gauge][] = [];
    for (const [key, [name, help]] of Object.entries(GAUGES) as [keyof Gauged, readonly [string, string]][]) {
      const isFirst = gauges.length === 0;
      gauges.push([
        key,
        new Gauge({
          name: `carillon_scheduler_${name}`,
          help,
          registers,
          // A scrape collects in the order of registration: the first one looks once for all.
          collect: () => {
            if (!isFirst) return;
            const shown = gauged();
            for (const [shownKey, gauge] of gauges) gauge.set(shown[shownKey]);
          },
        }),
      ]);
    }
  }

  fired(live: boolean, latenessMs: number): void {
    const labels = { class: live ? 'live' : 'missed' } as const;
    this.successfulFires.inc(labels);
    this.lateness.observe(labels, latenessMs / 1000);
  }
}
