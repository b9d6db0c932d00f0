import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { type CreateRunRequest, ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createdAnswer, type Refused } from '@carillon/scheduler/answer.ts';
import type { Sent } from '@carillon/scheduler/runs-target.ts';
import { Code } from '@connectrpc/connect';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** A request for a run, as its sender knows it. */
export interface SentRequest {
  readonly request: CreateRunRequest;
  readonly replica: number;
  /** When the slot was last looked at before this was sent, in the world's time. */
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
  readonly insertedAtMs: number;
  readonly committedAtMs: number;
  readonly lookedAtMs: number;
}

type Insert = Omit<SimRun, 'committedAtMs'>;

/** A transaction of the runs service. */
interface Work {
  readonly inserted: Map<string, Insert>;
  /** Those who wait for its end. */
  readonly waiters: (() => void)[];
}

/** How often an insert that came too late in part is made again. */
const MAX_ATTEMPTS = 5;

/**
 * The runs service: creates runs once by name, in transactions that stay uncommitted for a while and may come to nothing, and refuses
 * what is inserted after its `not_after` by the database's clock.
 */
export class SimRuns {
  readonly runs = new Map<string, SimRun>();
  readonly #bySlot = new Set<string>();
  readonly #world: World;
  readonly #random: Prng;
  readonly #uncommitted = new Map<string, Work>();
  /** Counts restarts: what was in the works of an earlier one comes to nothing. */
  #life = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random('runs');
  }

  /** Whether a schedule's slot has a run. */
  has(scheduleUid: string, nominal: number): boolean {
    return this.#bySlot.has(`${scheduleUid} ${nominal}`);
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
    const work: Work = { inserted: new Map(), waiters: [] };
    const refusals = new Map<string, Refused>();
    let late = false;
    const insertFrom = (place: number): void => {
      if (life !== this.#life) return;
      for (let index = place; index < names.length; index++) {
        const name = names[index]!;
        const other = this.#uncommitted.get(name);
        if (other) {
          other.waiters.push(() => insertFrom(index));
          return;
        }
        const one = byName.get(name)!;
        const refusal = this.#refusal(name, one.request);
        if (refusal) refusals.set(name, refusal);
        else {
          work.inserted.set(name, this.#insert(name, one));
          this.#uncommitted.set(name, work);
        }
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
      for (const run of work.inserted.values()) this.#commit(run);
      const answers = sent.map(({ request }): Sent => {
        const refused = refusals.get(nameOf(request));
        return refused ? { refused } : { answer: createdAnswer(RunOutcome.STARTED) };
      });
      this.#end(work);
      done(answers);
    };
    insertFrom(0);
  }

  /** Tells which runs exist, once nothing is uncommitted under their names. */
  probe(names: readonly string[], done: (found: boolean[]) => void): void {
    const life = this.#life;
    const sorted = [...names].sort();
    const lookFrom = (place: number): void => {
      if (life !== this.#life) return;
      for (let index = place; index < sorted.length; index++) {
        const other = this.#uncommitted.get(sorted[index]!);
        if (other) {
          other.waiters.push(() => lookFrom(index));
          return;
        }
      }
      done(names.map((name) => this.runs.has(name)));
    };
    lookFrom(0);
  }

  #insert(name: string, { request, lookedAtMs }: SentRequest): Insert {
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
      insertedAtMs: time.nowMs,
      lookedAtMs,
    };
  }

  #commit(run: Insert): void {
    const { time } = this.#world;
    this.runs.set(run.name, { ...run, committedAtMs: time.nowMs });
    this.#bySlot.add(`${run.scheduleUid} ${run.nominal}`);
    this.#world.tell(() => `a run exists for ${run.identity} at ${run.nominal} (revision ${run.revision})`);
  }

  #end(work: Work): void {
    for (const name of work.inserted.keys()) this.#uncommitted.delete(name);
    for (const waiter of work.waiters.splice(0)) this.#world.time.after(0, waiter);
  }

  #refusal(name: string, request: CreateRunRequest): Refused | undefined {
    const verdict = this.#world.verdictOn(identityOf(request), timestampMs(request.nominalTime!) / 1000);
    if (verdict === 'invalid') return refused(Code.InvalidArgument, 'INPUTS', 'the inputs are refused');
    const existing = this.runs.get(name);
    if (existing || verdict === 'squatted') {
      const nominalTime = request.nominalTime!;
      const scheduleUid = existing?.scheduleUid ?? 'another';
      return refused(
        Code.AlreadyExists,
        'RUN_EXISTS',
        'it exists',
        create(ExistingRunSchema, {
          name,
          scheduleUid,
          sameSpec: true,
          nominalTime,
          outcome: RunOutcome.STARTED,
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

/** What is refused with our own error detail. */
export function refused(
  code: Code,
  reason: string | undefined,
  message: string,
  existing?: Refused['existing'],
): Refused {
  return { code, message, reason, project: undefined, existing };
}
