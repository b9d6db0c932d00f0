import { type Assignment, hashAssignment, namedAssignment } from '@carillon/core/assignment.ts';
import { Prng } from './prng.ts';
import type { SimSpec } from './sim-spec.ts';
import { momentOf, SpecMaker } from './spec-maker.ts';

/** The settings of a world, beside what happens in it. Times in milliseconds. */
export interface Settings {
  readonly leaseTtlMs: number;
  readonly leaseMarginMs: number;
  readonly callTimeoutMs: number;
  readonly ratePerSecond: number;
  readonly burst: number;
  readonly maxBatch: number;
  readonly maxCalls: number;
  readonly maxOutstanding: number;
  readonly catchUpRunsPerSecond: number;
  readonly rampUpMs: number;
  readonly breakerVolume: number;
  readonly breakerResetMs: number;
  /** Rows of a page of the feed. */
  readonly pageRows: number;
  /** The usual time from one machine to another, and how often it takes up to a hundred times that. */
  readonly latencyMs: number;
  readonly spikes: number;
  /** How long an insert of the runs service stays uncommitted at most, and how often it takes that long. */
  readonly lateCommitMs: number;
  readonly lateCommits: number;
  /** How often an answer is lost, by either service. */
  readonly lostAnswers: number;
  /** How often a call to the runs service takes seconds to arrive. */
  readonly slowCalls: number;
  /** How often a call to the runs service arrives twice. */
  readonly duplicates: number;
  /** How often hints of changes are lost. */
  readonly lostHints: number;
  /** How often a full comparison of the feed is made; Infinity: never. */
  readonly compareEveryMs: number;
  /** Whether the ledger records what fired, too. */
  readonly recordFired: boolean;
  /** How long runs wait for a worker at most, and how long one takes for them about. */
  readonly queueMs: number;
  readonly runMs: number;
}

/** A scheduler. */
export interface ReplicaPlan {
  readonly startMs: number;
  readonly drift: number;
  readonly wallOffsetMs: number;
}

/** A change that a user of the API makes to a schedule. */
export interface Change {
  readonly atMs: number;
  /** Which name it is about. */
  readonly name: number;
  readonly kind: 'create' | 'edit' | 'touch' | 'pause' | 'unpause' | 'deactivate' | 'activate' | 'delete';
  /** Of `create` and `edit`. */
  readonly spec: SimSpec | undefined;
  /** How long its transaction stays open. */
  readonly commitMs: number;
  /** Whether that is rolled back in the end. */
  readonly aborts: boolean;
}

/** Something that goes wrong for a while. */
export interface Fault {
  readonly atMs: number;
  readonly forMs: number;
  readonly kind:
    | 'crash'
    | 'outage'
    | 'freeze'
    | 'hand-over'
    | 'give-away'
    | 'database-cut'
    | 'runs-cut'
    | 'runs-down'
    | 'runs-slow'
    | 'runs-losing-answers'
    | 'runs-exhausted'
    | 'runs-crash'
    | 'database-crash'
    | 'promotion'
    | 'rows-refused'
    | 'timing-unreadable'
    | 'wall-step'
    | 'database-step';
  /** Which replica, where it is about one. */
  readonly replica: number;
  /** Which name, where it is about one. */
  readonly name: number;
  /** How far a clock steps, in milliseconds; of a promotion, how much of the past the standby has lost. */
  readonly stepMs: number;
  /** Whether what comes after a crash has the same name as before. */
  readonly sameName: boolean;
}

/** A crash at an await: before the request is sent, when it has been carried out, or when the answer is there. */
export interface CrashPoint {
  readonly replica: number;
  /** Which of the replica's calls, counted over all its lives. */
  readonly call: number;
  readonly phase: 'before' | 'carried-out' | 'answered';
}

/** The runs service's word on the runs of a name. */
export interface Verdictive {
  readonly name: number;
  /** Refused for good; refused until a time; or the run's name is taken by another's. */
  readonly kind: 'invalid' | 'invalid-until' | 'squatted';
  readonly untilMs: number;
  /** Which nominal times, in seconds: those that leave `rest` when divided by `modulus`. */
  readonly modulus: number;
  readonly rest: number;
}

/** Somebody asks for redrives of a name's dead slots. */
export interface RedriveRequest {
  readonly atMs: number;
  readonly name: number;
  /** How many at most, the oldest. */
  readonly most: number;
}

/** A change of what is sharded how: a replica is started again with it, and the others follow. */
export interface Resharding {
  readonly atMs: number;
  readonly assignment: Assignment;
  readonly replica: number;
  /** Whether that one is killed for it; otherwise it hands over. */
  readonly abruptly: boolean;
}

/** All that happens in a world by chance, as data: taking parts of it away is how a failure is made small. */
export interface Plan {
  readonly seed: string;
  /** Wall time at the beginning. */
  readonly epochMs: number;
  /** Nothing goes wrong, so that lateness can be judged. */
  readonly calm: boolean;
  /** When all faults have ended. */
  readonly faultsEndMs: number;
  readonly settings: Settings;
  readonly names: readonly {
    readonly project: string;
    readonly domain: string;
    readonly scheduleId: string;
  }[];
  readonly replicas: readonly ReplicaPlan[];
  readonly changes: readonly Change[];
  readonly redrives: readonly RedriveRequest[];
  /** The first is what all replicas are configured with in the beginning. */
  readonly shardings: readonly Resharding[];
  readonly faults: readonly Fault[];
  readonly crashes: readonly CrashPoint[];
  readonly verdicts: readonly Verdictive[];
}

/** The plan of a seed. */
export function planOf(seed: string): Plan {
  const random = new Prng(seed);
  const calm = random.chance(0.15);
  const faultsEndMs = Math.round(random.pick([10, 20, 20, 30, 60]) * 1000 * random.between(0.7, 1.3));
  const moment = momentOf(random.fork('moment'));
  const epochMs = moment.at * 1000 - random.int(0, faultsEndMs);
  const names = Array.from({ length: random.pick([1, 2, 3, 4, 6]) }, (_, index) => ({
    project: random.pick(['bells', 'chimes']),
    domain: random.pick(['test', 'test', 'live']),
    scheduleId: `s${index}`,
  }));
  const specs = new SpecMaker(random.fork('specs'), moment, epochMs, faultsEndMs, names.length);
  const replicas = random.pick([1, 2, 2, 3, 4]);
  const settings = settingsOf(random.fork('settings'), calm);
  const verdicts =
    calm || random.chance(0.6) ? [] : verdictsOf(random.fork('verdicts'), names.length, faultsEndMs);
  const redrives = redrivesOf(random.fork('redrives'), verdicts, names.length, faultsEndMs);
  const changesItsMind = verdicts.some(({ kind }) => kind === 'invalid-until');
  const faults = calm ? [] : faultsOf(random.fork('faults'), replicas, names.length, faultsEndMs);
  const changes = changesOf(random.fork('changes'), names.length, faultsEndMs, specs, calm, faults);
  return {
    seed,
    epochMs,
    calm,
    faultsEndMs,
    // A copy of what was refused arrives when it would be accepted.
    settings: changesItsMind ? { ...settings, duplicates: Math.max(settings.duplicates, 0.5) } : settings,
    names,
    replicas: Array.from({ length: replicas }, (_, index) => ({
      startMs: index === 0 ? 0 : Math.round(random.between(0, 3_000)),
      drift: calm ? 0 : random.pick([0, 0, 1e-4, -1e-4, 4e-4]),
      wallOffsetMs: random.pick([0, 0, 400, -400, 3_600_000, -3_600_000]),
    })),
    changes: [...changes, ...stopsAfter(redrives, random.fork('stops'))].sort((a, b) => a.atMs - b.atMs),
    redrives,
    faults,
    crashes: calm ? [] : crashesOf(random.fork('crashes'), replicas),
    shardings: shardingsOf(random.fork('shardings'), replicas, faultsEndMs, calm),
    verdicts,
  };
}

function settingsOf(random: Prng, calm: boolean): Settings {
  const leaseTtlMs = random.pick([1_000, 2_000, 3_000]);
  return {
    leaseTtlMs,
    leaseMarginMs: leaseTtlMs / 10,
    callTimeoutMs: random.pick([300, 1_000, 2_500]),
    ratePerSecond: calm ? Number.POSITIVE_INFINITY : random.pick([Number.POSITIVE_INFINITY, 20, 50]),
    burst: random.pick([5, 20, 500]),
    maxBatch: random.pick([1, 3, 50, 500]),
    maxCalls: random.pick(calm ? [4] : [1, 2, 4]),
    maxOutstanding: random.pick(calm ? [1_000] : [5, 20, 1_000]),
    catchUpRunsPerSecond: random.pick([3, 20, 100]),
    rampUpMs: random.pick([1, 1_000]),
    breakerVolume: random.pick([2, 5]),
    breakerResetMs: random.pick([200, 1_000]),
    pageRows: random.pick([1, 2, 5, 1_000]),
    latencyMs: random.pick([0.2, 1, 5]),
    spikes: calm ? 0 : random.pick([0, 0.02, 0.1]),
    lateCommitMs: calm ? 5 : random.pick([20, 500, 3_000, 8_000]),
    lateCommits: random.pick([0, 0.05, 0.3]),
    lostAnswers: calm ? 0 : random.pick([0, 0, 0.03, 0.1]),
    slowCalls: calm ? 0 : random.pick([0, 0, 0.05, 0.3]),
    duplicates: calm ? 0 : random.pick([0, 0, 0.05]),
    lostHints: random.pick([0, 0.2, 1]),
    compareEveryMs: random.pick([Number.POSITIVE_INFINITY, 4_000]),
    recordFired: random.chance(0.2),
    queueMs: random.pick([1, 300]),
    runMs: random.pick([10, 800, 3_000, 12_000]),
  };
}

/** A database lives on for up to this long when it is about to crash: what is read then will not have happened. */
export const LAST_MOMENTS_MS = 100;

const CHANGES: readonly Change['kind'][] = [
  'edit',
  'edit',
  'touch',
  'pause',
  'pause',
  'unpause',
  'unpause',
  'unpause',
  'deactivate',
  'activate',
  'delete',
  'create',
];

function changesOf(
  random: Prng,
  names: number,
  endMs: number,
  specs: SpecMaker,
  calm: boolean,
  faults: readonly Fault[],
): Change[] {
  const changes: Change[] = [];
  const busy = random.pick([0, 1, 3, 8]);
  const slow = calm ? 5 : random.pick([5, 5, 300, 4_000]);
  for (let name = 0; name < names; name++) {
    const change = (atMs: number, kind: Change['kind']): void => {
      changes.push({
        atMs,
        name,
        kind,
        spec: kind === 'create' || kind === 'edit' ? specs.make() : undefined,
        commitMs: random.chance(0.3) ? random.between(0, slow) : random.between(0, 3),
        aborts: random.chance(0.05),
      });
    };
    // Some exist before the first scheduler starts.
    change(random.chance(0.8) ? 0 : random.between(0, endMs / 2), 'create');
    const count = random.int(0, busy);
    for (let index = 0; index < count; index++) change(random.between(0, endMs), random.pick(CHANGES));
    for (const { kind, atMs, forMs } of faults) {
      // The first to come when the server is back is given an id that it had handed out before.
      if (kind === 'database-crash' && random.chance(0.5))
        change(
          Math.min(endMs, atMs + random.between(LAST_MOMENTS_MS, LAST_MOMENTS_MS + forMs)),
          random.pick(CHANGES),
        );
    }
  }
  return changes
    .map((change) => ({
      ...change,
      atMs: Math.round(change.atMs),
      commitMs: Math.round(change.commitMs * 10) / 10,
    }))
    .sort((a, b) => a.atMs - b.atMs);
}

/** Mostly of names that have dead slots; some asked for twice; many at the end, when what made slots dead may be gone. */
function redrivesOf(
  random: Prng,
  verdicts: readonly Verdictive[],
  names: number,
  endMs: number,
): RedriveRequest[] {
  const count = random.pick(verdicts.length > 0 ? [2, 4, 8] : [0, 1, 3]);
  return Array.from({ length: count }, () => ({
    atMs: random.chance(0.2) ? endMs : Math.round(random.between(0, endMs)),
    name: verdicts[0] && random.chance(0.8) ? verdicts[0].name : random.int(0, names - 1),
    most: random.pick([1, 3, 500]),
  }))
    .flatMap((request) =>
      random.chance(0.3)
        ? [
            request,
            { ...request, atMs: Math.min(endMs, request.atMs + Math.round(random.between(100, 3_000))) },
          ]
        : [request],
    )
    .sort((a, b) => a.atMs - b.atMs);
}

/** Somebody thinks better of it. */
function stopsAfter(redrives: readonly RedriveRequest[], random: Prng): Change[] {
  return redrives.flatMap(({ atMs, name }): Change[] => {
    if (!random.chance(0.2)) return [];
    const stopMs = atMs + Math.round(random.between(0, 1_500));
    const common = { name, spec: undefined, commitMs: 1, aborts: false } as const;
    return [
      { ...common, atMs: stopMs, kind: random.pick(['pause', 'deactivate']) },
      { ...common, atMs: stopMs + 1_000, kind: random.pick(['unpause', 'activate']) },
    ];
  });
}

function shardingsOf(random: Prng, replicas: number, endMs: number, calm: boolean): Resharding[] {
  const count = calm ? 1 : random.pick([1, 1, 2, 3, 5]);
  const times = Array.from({ length: count }, (_, index) => (index === 0 ? 0 : random.between(0, endMs)));
  return times
    .sort((a, b) => a - b)
    .map((atMs, index) => ({
      atMs: Math.round(atMs),
      assignment: assignmentOf(random, index + 1),
      replica: random.int(0, replicas - 1),
      abruptly: random.chance(0.3),
    }));
}

function assignmentOf(random: Prng, version: number): Assignment {
  const strategy = random.pick(['hash', 'hash', 'hash', 'project', 'domain'] as const);
  if (strategy === 'hash') return hashAssignment(version, random.pick([1, 1, 2, 3, 4]));
  const ids = strategy === 'project' ? ['bells', 'chimes'] : ['live', 'test'];
  const [first, second] = random.chance(0.5) ? ids : ids.toReversed();
  const shards = random.pick([
    [['*']],
    [[first!], ['*']],
    [[first!, second!], ['*']],
    [[first!], [second!], ['*']],
  ]);
  return namedAssignment(version, strategy, shards);
}

const FAULTS: readonly (readonly [kind: Fault['kind'], weight: number])[] = [
  ['crash', 4],
  ['outage', 2],
  ['freeze', 4],
  ['hand-over', 3],
  ['give-away', 2],
  ['database-cut', 3],
  ['runs-cut', 2],
  ['runs-down', 2],
  ['runs-slow', 2],
  ['runs-losing-answers', 2],
  ['runs-exhausted', 1],
  ['runs-crash', 2],
  ['database-crash', 2],
  ['promotion', 1],
  ['rows-refused', 2],
  ['timing-unreadable', 3],
  ['wall-step', 1],
  ['database-step', 1],
];

function faultsOf(random: Prng, replicas: number, names: number, endMs: number): Fault[] {
  const bag = FAULTS.flatMap(([kind, weight]) => Array<Fault['kind']>(weight).fill(kind));
  const faults: Fault[] = [];
  const count = random.pick([0, 1, 2, 4, 8]);
  for (let index = 0; index < count; index++) {
    const atMs = Math.round(random.between(0, endMs));
    faults.push({
      atMs,
      forMs: Math.min(
        endMs - atMs,
        Math.round(random.pick([50, 500, 2_000, 6_000, 15_000, 25_000]) * random.between(0.5, 1.5)),
      ),
      kind: random.pick(bag),
      replica: random.int(0, replicas - 1),
      name: random.int(0, names - 1),
      stepMs: random.pick([-30_000, -5_000, -700, 700, 5_000, 20_000]),
      sameName: random.chance(0.5),
    });
  }
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function crashesOf(random: Prng, replicas: number): CrashPoint[] {
  const crashes: CrashPoint[] = [];
  const count = random.pick([0, 0, 1, 3, 6]);
  for (let index = 0; index < count; index++) {
    crashes.push({
      replica: random.int(0, replicas - 1),
      call: Math.floor(1.5 * 150 ** random.fraction()),
      phase: random.pick(['before', 'carried-out', 'answered']),
    });
  }
  return crashes;
}

function verdictsOf(random: Prng, names: number, endMs: number): Verdictive[] {
  const modulus = random.pick([1, 2, 5]);
  return [
    {
      name: random.int(0, names - 1),
      kind: random.pick(['invalid', 'invalid-until', 'invalid-until', 'squatted']),
      untilMs: Math.round(random.between(0, endMs)),
      modulus,
      rest: random.int(0, modulus - 1),
    },
  ];
}
