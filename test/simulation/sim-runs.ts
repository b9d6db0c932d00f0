import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { OverlapPolicy, RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { type CreateRunRequest, ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createdAnswer, type Refused } from '@carillon/scheduler/answer.ts';
import type { FoundRun, Sent, SoughtRun } from '@carillon/scheduler/runs-target.ts';
import { Code } from '@connectrpc/connect';
import type { Prng } from './prng.ts';
import { refill } from './refill.ts';
import { type AskedRun, type KeyEvent, SimKeys, type SimOutcome } from './sim-keys.ts';
import type { World } from './world.ts';

/** A request for a run, as its sender knows it. */
export interface SentRequest {
  readonly request: CreateRunRequest;
  /** When it was sent, and when the slot was last looked at before that, in the world's time. */
  readonly sentAtMs: number;
  readonly lookedAtMs: number;
}

/** A run that exists. */
export interface SimRun {
  readonly name: string;
  /** `project/domain/schedule`. */
  readonly identity: string;
  readonly scheduleUid: string;
  readonly revision: number;
  /** Whole epoch seconds. */
  readonly nominal: number;
  readonly fireMs: number;
  /** The database's clock when it was inserted, and the latest that it had said until then. */
  readonly insertedAtDatabaseMs: number;
  readonly highestDatabaseMs: number;
  readonly notAfterMs: number;
  readonly insertedAtMs: number;
  readonly committedAtMs: number;
  readonly lookedAtMs: number;
  /** When the request that created it was sent. */
  readonly sentAtMs: number;
  /** What its overlap policy decided. */
  readonly outcome: SimOutcome;
}

type Insert = Omit<SimRun, 'committedAtMs' | 'outcome'>;

/** A transaction of the runs service. */
interface Work {
  readonly inserted: Map<string, Insert>;
  /** The names that it has inserted, and before them the concurrency keys that it has locked. */
  readonly locks: Set<string>;
  /** Those who wait for its end. */
  readonly waiters: (() => void)[];
}

const POLICIES: ReadonlyMap<OverlapPolicy, AskedRun['policy']> = new Map(
  (['ALLOW', 'SKIP', 'BUFFER_ONE', 'BUFFER_ALL', 'CANCEL_OTHER', 'TERMINATE_OTHER'] as const).map(
    (policy) => [OverlapPolicy[policy], policy],
  ),
);

/** The uid of whoever has taken a slot's name. */
const SQUATTER = 'another';

/** How often an insert that came too late in part is made again. */
const MAX_ATTEMPTS = 5;

/**
 * The runs service: creates runs once by name, in transactions that stay uncommitted for a while and may come to nothing, and refuses
 * what is inserted after its `not_after` by the database's clock.
 */
export class SimRuns {
  readonly runs = new Map<string, SimRun>();
  readonly #bySlot = new Map<string, SimRun>();
  readonly #world: World;
  readonly #random: Prng;
  readonly #keys: SimKeys;
  /** By lock: the transaction that holds it. */
  readonly #uncommitted = new Map<string, Work>();
  /** Names that are known to be another's. */
  readonly #squatted = new Set<string>();
  /** Counts restarts: what was in the works of an earlier one comes to nothing. */
  #life = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random('runs');
    this.#keys = new SimKeys(world, world.random('keys'), (key, work) => this.#whenFree(lockOf(key), work));
  }

  /** What happened to runs with concurrency keys. */
  get keyEvents(): readonly KeyEvent[] {
    return this.#keys.events;
  }

  /** The run of a schedule's slot. */
  find(scheduleUid: string, nominal: number): SimRun | undefined {
    return this.#bySlot.get(`${scheduleUid} ${nominal}`);
  }

  /** Keeps what is committed; the function brings it back. */
  copy(): () => void {
    const [runs, bySlot, keys] = [[...this.runs], [...this.#bySlot], this.#keys.copy()];
    return () => {
      this.crash();
      refill(this.runs, runs);
      refill(this.#bySlot, bySlot);
      keys();
    };
  }

  /** Everything in the works is lost, with its answers. */
  crash(): void {
    this.#life++;
    for (const work of new Set(this.#uncommitted.values())) this.#end(work);
  }

  /** Creates runs in one transaction; `done` is told of the answers, unless the service dies. */
  create(sent: readonly SentRequest[], done: (answers: Sent[]) => void, attempt = 1): void {
    const { time } = this.#world;
    const life = this.#life;
    const byName = new Map(sent.map((one) => [nameOf(one.request), one]));
    const names = [...byName.keys()].sort();
    // All keys before any name, each in their order, so that no two transactions wait for one another.
    const locks = [...new Set(sent.flatMap(({ request }) => keyLocksOf(request)))].sort();
    locks.push(...names);
    const work: Work = { inserted: new Map(), locks: new Set(), waiters: [] };
    const refusals = new Map<string, Refused>();
    let late = false;
    const insertFrom = (place: number): void => {
      if (life !== this.#life) return;
      for (let index = place; index < locks.length; index++) {
        const name = locks[index]!;
        const other = this.#uncommitted.get(name);
        if (other) {
          other.waiters.push(() => insertFrom(index));
          return;
        }
        const one = byName.get(name);
        const refusal = one && this.#refusal(name, one.request);
        if (refusal) {
          refusals.set(name, refusal);
          continue;
        }
        if (one) work.inserted.set(name, this.#insert(name, one));
        work.locks.add(name);
        this.#uncommitted.set(name, work);
      }
      time.after(this.#statementMs(), check);
    };
    const check = (): void => {
      if (life !== this.#life) return;
      // After the insert: what counts is when it was written, and the time before may have been long.
      for (const [name, run] of work.inserted) {
        const { request } = byName.get(name)!;
        if (run.insertedAtDatabaseMs > timestampMs(request.notAfter!)) late = true;
      }
      if (late) {
        this.#end(work);
        if (attempt < MAX_ATTEMPTS) this.create(sent, done, attempt + 1);
        return;
      }
      time.after(this.#commitMs(), commit);
    };
    const commit = (): void => {
      if (life !== this.#life) return;
      const outcomes = this.#keys.decide(
        [...work.inserted.keys()].flatMap((name) => keyedRunOf(name, byName.get(name)!.request) ?? []),
      );
      for (const run of work.inserted.values()) this.#commit(run, outcomes.get(run.name) ?? 'STARTED');
      const answers = sent.map(({ request }): Sent => {
        const name = nameOf(request);
        const refused = refusals.get(name);
        return refused ? { refused } : { answer: createdAnswer(RunOutcome[outcomes.get(name) ?? 'STARTED']) };
      });
      this.#end(work);
      done(answers);
    };
    insertFrom(0);
  }

  /** Tells what stands under the names, once nothing is uncommitted there. */
  probe(sought: readonly SoughtRun[], done: (found: (FoundRun | undefined)[]) => void): void {
    const life = this.#life;
    const sorted = sought.map(({ name }) => name).sort();
    const lookFrom = (place: number): void => {
      if (life !== this.#life) return;
      for (let index = place; index < sorted.length; index++) {
        const other = this.#uncommitted.get(sorted[index]!);
        if (other) {
          other.waiters.push(() => lookFrom(index));
          return;
        }
      }
      done(sought.map((one) => this.#found(one)));
    };
    lookFrom(0);
  }

  #found({ name, nominalMs }: SoughtRun): FoundRun | undefined {
    const run = this.runs.get(name);
    if (run) return { scheduleUid: run.scheduleUid, nominalMs, skipped: run.outcome === 'SKIPPED' };
    return this.#squatted.has(name) ? { scheduleUid: SQUATTER, nominalMs, skipped: false } : undefined;
  }

  /** Does something as soon as no transaction holds a lock. */
  #whenFree(lock: string, work: () => void): void {
    const holder = this.#uncommitted.get(lock);
    if (holder) holder.waiters.push(() => this.#whenFree(lock, work));
    else work();
  }

  #insert(name: string, { request, lookedAtMs, sentAtMs }: SentRequest): Insert {
    const { database, time } = this.#world;
    return {
      name,
      identity: identityOf(request),
      scheduleUid: request.scheduleUid,
      revision: request.scheduleRevision,
      nominal: timestampMs(request.nominalTime!) / 1000,
      fireMs: timestampMs(request.fireTime!),
      insertedAtDatabaseMs: database.now(),
      highestDatabaseMs: database.highestMs,
      notAfterMs: timestampMs(request.notAfter!),
      insertedAtMs: time.nowMs,
      lookedAtMs,
      sentAtMs,
    };
  }

  #commit(insert: Insert, outcome: SimOutcome): void {
    const { time } = this.#world;
    const run: SimRun = { ...insert, committedAtMs: time.nowMs, outcome };
    this.runs.set(run.name, run);
    this.#bySlot.set(`${run.scheduleUid} ${run.nominal}`, run);
    this.#world.tell(
      () => `a run exists for ${run.identity} at ${run.nominal} (revision ${run.revision}): ${outcome}`,
    );
  }

  #end(work: Work): void {
    for (const lock of work.locks) this.#uncommitted.delete(lock);
    for (const waiter of work.waiters.splice(0)) this.#world.time.after(0, waiter);
  }

  #refusal(name: string, request: CreateRunRequest): Refused | undefined {
    const verdict = this.#world.verdictOn(identityOf(request), timestampMs(request.nominalTime!) / 1000);
    if (verdict === 'invalid') return refused(Code.InvalidArgument, 'INPUTS', 'the inputs are refused');
    const existing = this.runs.get(name);
    if (verdict === 'squatted') this.#squatted.add(name);
    if (existing || verdict === 'squatted') {
      const nominalTime = request.nominalTime!;
      const scheduleUid = existing?.scheduleUid ?? SQUATTER;
      return refused(
        Code.AlreadyExists,
        'RUN_EXISTS',
        'it exists',
        create(ExistingRunSchema, {
          name,
          scheduleUid,
          sameSpec: true,
          nominalTime,
          outcome: RunOutcome[existing?.outcome ?? 'STARTED'],
        }),
      );
    }
    if (timestampMs(request.notAfter!) <= this.#world.database.now())
      return refused(Code.FailedPrecondition, 'EXPIRED', 'not_after has passed');
    return undefined;
  }

  #statementMs(): number {
    return this.#random.between(0, 1);
  }

  #commitMs(): number {
    const { lateCommitMs, lateCommits } = this.#world.plan.settings;
    return this.#world.happens(lateCommits, this.#random)
      ? this.#random.between(0, lateCommitMs)
      : this.#random.between(0, 2);
  }
}

/** The full name of the run that a request asks for. */
export function nameOf(request: CreateRunRequest): string {
  return `${request.parent}/runs/${request.runId}`;
}

function identityOf({ schedule }: CreateRunRequest): string {
  const [, project, , domain, , id] = schedule.split('/');
  return `${project}/${domain}/${id}`;
}

/** The run with its concurrency key, if it has one. */
function keyedRunOf(name: string, { concurrency, nominalTime }: CreateRunRequest): AskedRun | undefined {
  if (!concurrency) return undefined;
  const policy = POLICIES.get(concurrency.policy);
  if (policy === undefined) throw new RangeError(`there is no overlap policy ${concurrency.policy}`);
  const { key } = concurrency;
  const limit = concurrency.limit === 0 && policy !== 'ALLOW' ? 1 : concurrency.limit;
  return { name, key, nominal: timestampMs(nominalTime!) / 1000, policy, limit };
}

function keyLocksOf({ concurrency }: CreateRunRequest): string[] {
  return concurrency ? [lockOf(concurrency.key)] : [];
}

function lockOf(key: string): string {
  return `key ${key}`;
}

/** What is refused with our own error detail. */
export function refused(
  code: Code,
  reason: string | undefined,
  message: string,
  existing?: Refused['existing'],
): Refused {
  return { code, message, reason, project: undefined, existing };
}
