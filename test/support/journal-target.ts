import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { type CreateRunRequest, ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { createdAnswer } from '@carillon/scheduler/answer.ts';
import {
  CallFailedError,
  type FoundRun,
  type RunsTarget,
  type Sent,
} from '@carillon/scheduler/runs-target.ts';
import { Code, type ConnectError } from '@connectrpc/connect';

/** A run as the journal keeps it. */
export interface JournaledRun {
  readonly name: string;
  readonly schedule: string;
  readonly scheduleUid: string;
  readonly nominalMs: number;
  readonly fireMs: number;
  /** When it arrived, by this machine's wall clock. */
  readonly arrivedMs: number;
  readonly request: CreateRunRequest;
}

/** A runs service that keeps a journal of what it was asked for, and fails when told to. */
export class JournalTarget implements RunsTarget {
  readonly runs = new Map<string, JournaledRun>();
  /** How many requests arrived, repeated ones included. */
  attempts = 0;
  /** Thrown before anything is created, while set. */
  failure: ConnectError | undefined;
  /** Thrown after everything is created, while set: the answer is lost. */
  lostAnswer: ConnectError | undefined;
  /** Answers for one request instead of creating it. */
  refuse: ((request: CreateRunRequest) => Sent | undefined) | undefined;
  #waiters: { readonly count: number; readonly resolve: () => void }[] = [];

  async create(requests: readonly CreateRunRequest[]): Promise<Sent[]> {
    this.attempts += requests.length;
    if (this.failure) throw new CallFailedError(this.failure);
    const sent = requests.map((request) => this.refuse?.(request) ?? this.#createOne(request));
    this.#waiters = this.#waiters.filter(({ count, resolve }) => {
      if (this.runs.size < count) return true;
      resolve();
      return false;
    });
    if (this.lostAnswer) throw new CallFailedError(this.lostAnswer);
    return sent;
  }

  async probe(runs: readonly { readonly name: string }[]): Promise<(FoundRun | undefined)[]> {
    return runs.map(({ name }) => {
      const run = this.runs.get(name);
      return run && { ...run, skipped: false };
    });
  }

  /** Resolves when there are `count` runs. */
  reached(count: number): Promise<void> {
    if (this.runs.size >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ count, resolve }));
  }

  /** The nominal times of a schedule's runs, in seconds, ascending. */
  nominalSecs(schedule: string): number[] {
    return [...this.runs.values()]
      .filter((run) => run.schedule.endsWith(`/${schedule}`))
      .map((run) => run.nominalMs / 1000)
      .sort((a, b) => a - b);
  }

  #createOne(request: CreateRunRequest): Sent {
    const name = `${request.parent}/runs/${request.runId}`;
    const existing = this.runs.get(name);
    if (existing) {
      const detail = create(ExistingRunSchema, {
        name,
        scheduleUid: existing.scheduleUid,
        outcome: RunOutcome.STARTED,
        sameSpec: true,
        ...(existing.request.nominalTime ? { nominalTime: existing.request.nominalTime } : {}),
      });
      return {
        refused: {
          code: Code.AlreadyExists,
          message: 'it exists',
          reason: 'RUN_EXISTS',
          project: undefined,
          existing: detail,
        },
      };
    }
    this.runs.set(name, {
      name,
      schedule: request.schedule,
      scheduleUid: request.scheduleUid,
      nominalMs: timestampMs(request.nominalTime!),
      fireMs: timestampMs(request.fireTime!),
      arrivedMs: Date.now(),
      request,
    });
    return { answer: createdAnswer(RunOutcome.STARTED) };
  }
}
