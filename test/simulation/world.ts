import { FlightMonitor } from './flight-monitor.ts';
import type { CrashPoint, Plan } from './plan.ts';
import { Prng } from './prng.ts';
import { ScheduleRows } from './schedule-rows.ts';
import { SimDatabase } from './sim-database.ts';
import type { SimProcess } from './sim-process.ts';
import { VirtualTime } from './virtual-time.ts';

/** What is wrong at the moment. */
export interface Conditions {
  /** Replicas without a way to the database; to the runs service. */
  readonly databaseCut: Set<number>;
  readonly runsCut: Set<number>;
  databaseDown: boolean;
  /** Schedules of which the database refuses ledger rows, and what is settled above a watermark. */
  readonly refused: Set<number>;
  runsDown: boolean;
  runsSlow: boolean;
  runsLosingAnswers: boolean;
  runsExhausted: boolean;
}

/** A quarantine, from when it was stored until what caused it was repaired, by the database's clock. */
export interface RepairedQuarantine {
  readonly schedule: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** A simulated world: its time, its database, what is wrong with it, and what was seen to go against the rules. */
export class World {
  readonly plan: Plan;
  readonly time = new VirtualTime();
  readonly database: SimDatabase;
  readonly conditions: Conditions = {
    databaseCut: new Set(),
    runsCut: new Set(),
    databaseDown: false,
    refused: new Set(),
    runsDown: false,
    runsSlow: false,
    runsLosingAnswers: false,
    runsExhausted: false,
  };
  readonly flights: FlightMonitor;
  /** Since when schedules may have been in quarantine, by the database's clock. */
  readonly troubledSinceMs = new Map<number, number>();
  /** Quarantines that ended with a repair, without a change of leaders between. */
  readonly quarantines: RepairedQuarantine[] = [];
  /** What was seen to break a rule while the world went on. */
  readonly violations: string[] = [];
  /** What happened, if it is to be told. */
  readonly story: string[] | undefined;
  /** Counts the lives of the database server. */
  incarnation = 0;
  /** Told when a lease is released, when a change of a schedule is committed, and when redrives are: there may be listeners. */
  released: () => void = () => undefined;
  changed: () => void = () => undefined;
  redriven: () => void = () => undefined;
  readonly #random: Prng;
  readonly #looks = new Map<string, number>();
  #lastSchedule = 0;

  constructor(plan: Plan, tell: boolean) {
    this.plan = plan;
    this.#random = new Prng(`${plan.seed}/world`);
    this.database = new SimDatabase(this.time, plan.epochMs);
    this.flights = new FlightMonitor(this);
    this.story = tell ? [] : undefined;
  }

  /** A stream of chance of its own. */
  random(label: string): Prng {
    return this.#random.fork(label);
  }

  tell(line: () => string): void {
    this.story?.push(`${(this.time.nowMs / 1000).toFixed(3).padStart(8)}  ${line()}`);
  }

  violated(rule: string): void {
    this.violations.push(`at ${(this.time.nowMs / 1000).toFixed(3)} s: ${rule}`);
    this.tell(() => `*** ${rule}`);
  }

  /** A schedule may be in quarantine from now on. */
  troubled(schedule: number): void {
    if (!this.troubledSinceMs.has(schedule)) this.troubledSinceMs.set(schedule, this.database.now());
  }

  /** What a schedule is in quarantine for, if it is, ends now. */
  repaired(schedule: ScheduleRows): void {
    const { quarantines, leases } = this.database;
    const row = quarantines.find(schedule.id);
    if (!row) return;
    // Who leads after another may not have read it.
    const terms = leases.termsOf({ hashSlot: schedule.unit, ...schedule.name });
    if (terms.some(({ readyMs }) => readyMs >= row.sinceMs)) return;
    this.quarantines.push({ schedule: schedule.id, fromMs: row.sinceMs, toMs: this.database.now() });
  }

  /** Rows for a new incarnation of a name. */
  newSchedule(name: number): ScheduleRows {
    const rows = new ScheduleRows(++this.#lastSchedule, this.plan.names[name]!);
    this.database.schedules.set(rows.id, rows);
    return rows;
  }

  /** A process has looked at a slot, and has the answer, which was true at `atMs`. */
  lookedAt(owner: string, schedule: number, nominalMs: number, atMs: number): void {
    this.#looks.set(`${owner} ${schedule} ${nominalMs}`, atMs);
  }

  /** When a process last looked at a slot; -Infinity: it never did. */
  lookOf(owner: string, scheduleUid: string, nominalMs: number): number {
    return (
      this.#looks.get(`${owner} ${Number(scheduleUid.slice(-12))} ${nominalMs}`) ?? Number.NEGATIVE_INFINITY
    );
  }

  /** What the runs service says of a slot now, whatever else is true of it. */
  verdictOn(identity: string, nominal: number): 'invalid' | 'squatted' | undefined {
    for (const { name, kind, modulus, rest, untilMs } of this.plan.verdicts) {
      const { project, domain, scheduleId } = this.plan.names[name]!;
      if (identity !== `${project}/${domain}/${scheduleId}` || nominal % modulus !== rest) continue;
      if (kind === 'squatted') return kind;
      if (kind === 'invalid' || this.time.nowMs < untilMs) return 'invalid';
    }
    return undefined;
  }

  /** Whether something goes wrong that does so with this probability, until all faults have ended. */
  happens(probability: number, random: Prng): boolean {
    return random.chance(probability) && this.time.nowMs < this.plan.faultsEndMs;
  }

  /** The way from one machine to another takes this long. */
  latencyMs(random: Prng): number {
    const { latencyMs, spikes } = this.plan.settings;
    const usual = latencyMs * (0.5 + random.fraction());
    return this.happens(spikes, random) ? usual * random.between(1, 100) : usual;
  }
}

/** The calls of a replica, and at which of them it crashes. */
export class Calls {
  readonly #points: readonly CrashPoint[];
  #count = 0;

  constructor(points: readonly CrashPoint[]) {
    this.#points = points;
  }

  /** Counts a call; tells where in it the process is to crash. */
  next(): CrashPoint['phase'] | undefined {
    this.#count++;
    return this.#points.find((point) => point.call === this.#count)?.phase;
  }
}

/** A process of a replica, as its ways to the services see it. */
export interface Caller {
  readonly replica: number;
  readonly process: SimProcess;
  readonly calls: Calls;
  readonly random: Prng;
  crash(): void;
}

/** Resolves never: for whoever waits in a process that is dead. */
export function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}
