import type { Scenario } from './scenario.ts';

/** How long a fault goes on: seconds for every change, minutes for a night. */
export type Length = 'short' | 'full';

/** A way in which the world fails while bells ring, and what must hold nevertheless. */
export interface Fault {
  /** In kebab-case, as on the command line. */
  readonly name: string;
  /** Its number, or numbers, in the list of faults. */
  readonly numbers: readonly number[];
  /** What is done, in a sentence. */
  readonly story: string;
  /** Why it cannot be done on this machine; undefined when it can. Default: it can. */
  readonly available?: () => string | undefined;
  /** How the system is set up for it. */
  readonly setUp?: ScenarioOptions;
  /**
   * Does it, and answers what is special about it. That every slot has its one outcome is judged afterwards, for every fault.
   *
   * @throws Error when something else does not hold
   */
  readonly run: (scenario: Scenario, length: Length) => Promise<FaultReport>;
}

/** What a fault tells, beside what is judged for every fault. */
export interface FaultReport {
  /** No slot may be created later than this after its time. */
  readonly latenessLimitMs: number;
  /** How long nobody fired at each hand-over, in milliseconds. Default: there was none. */
  readonly handoverGapsMs?: readonly number[];
  /** Whether slots may be settled without a run. Default: every slot has a run. */
  readonly mayWriteOff?: boolean;
  /** Figures of its own. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** How a system is set up. */
export interface ScenarioOptions {
  /** Settings of the scheduler, beside a lifted rate. */
  readonly scheduler?: Readonly<Record<string, string>>;
  readonly runs?: Readonly<Record<string, string>>;
  /** Schedules of one slot a second. Default 50. */
  readonly bells?: number;
  /** How many domains they are spread over. Default 1. */
  readonly domains?: number;
  /** The scheduler reaches the runs service by a gateway that can answer in its stead. Default: directly. */
  readonly gateway?: boolean;
  /** The scheduler reaches the runs service by a relay whose traffic can be disturbed. Default: directly. */
  readonly proxy?: boolean;
  /** The database is on a disk of its own of this size. Default: where temporary files are. */
  readonly diskMb?: number;
  /** Everything begins as an old version of this repository, on the schema of that time; see {@link Scenario.oldVersion}. Default: false. */
  readonly old?: boolean;
  /** The database has an asynchronous standby, and is reached by an address that outlives a promotion. Default: false. */
  readonly standby?: boolean;
  /** All processes under test, the database's too, go by a wall clock that can be set; see {@link Scenario.time}. Default: false. */
  readonly fakeTime?: boolean;
  /** Schedulers take orders: to block, and to step their wall clock. Default: false. */
  readonly orders?: boolean;
}
