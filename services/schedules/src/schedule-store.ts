import type { Entropy } from '@carillon/core/clock.ts';
import { aborted, alreadyExists, notFound } from '@carillon/core/domain-error.ts';
import { hashSlot } from '@carillon/core/hash-slot.ts';
import { formatScheduleName, SCHEDULE_RESOURCE, type ScheduleName } from '@carillon/core/resource-name.ts';
import { transaction } from '@carillon/db';
import type { NewRevision, RevisionRow, RevisionsPage } from '@carillon/db/tables/schedule-revisions.ts';
import { insertRevision, listRevisions, readRevision } from '@carillon/db/tables/schedule-revisions.ts';
import { beginSpan, endSpan, readSpanHead } from '@carillon/db/tables/schedule-spans.ts';
import type { ScheduleTables, SpanEndReason, SpanState } from '@carillon/db/tables/schedule-tables.ts';
import {
  findScheduleView,
  listScheduleViews,
  readScheduleView,
  type ScheduleView,
  type ScheduleViewsPage,
} from '@carillon/db/tables/schedule-views.ts';
import {
  insertSchedule,
  lockNewestIncarnation,
  lockSchedule,
  type ScheduleRow,
  writeSchedule,
} from '@carillon/db/tables/schedules.ts';
import type { Kysely, Transaction } from 'kysely';
import { etagOf } from './schedule-message.ts';

/** A schedule as a change finds it, locked until the change is committed. */
export interface CurrentSchedule {
  readonly name: ScheduleName;
  readonly view: ScheduleView;
  /** The instant of the change, by the database's clock, in epoch microseconds. */
  readonly instantMicros: number;
  /** Reads another revision of it; undefined if there is none of that number. */
  revision(number: number): Promise<RevisionRow | undefined>;
}

/** What a change makes of a schedule. What is left out stays. */
export interface ScheduleEdit {
  readonly description?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** A revision to add: its number is the newest's, plus one. */
  readonly revision?: NewRevision | undefined;
  readonly span?: SpanEdit | undefined;
  readonly deleted?: boolean | undefined;
}

/** How a change goes on with the history. */
export interface SpanEdit {
  /** Ends the open span, for this reason. */
  readonly end?: SpanEndReason | undefined;
  /** Begins a span, at the same instant. */
  readonly begin?:
    | { readonly revision: number; readonly state: SpanState; readonly reason?: string | undefined }
    | undefined;
}

/** Decides on a change. Undefined: there is nothing to write. */
export type DecideEdit = (
  current: CurrentSchedule,
) => ScheduleEdit | undefined | Promise<ScheduleEdit | undefined>;

/** A schedule to create. */
export interface NewSchedule {
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly revision: NewRevision;
  /** Whether its first revision becomes active at once. */
  readonly active: boolean;
}

/** Decides on a schedule that is created at an instant, in epoch microseconds. */
export type DecideNew = (instantMicros: number) => NewSchedule;

/** What holds for any write. */
export interface WriteOptions {
  /** Who writes. */
  readonly actor: string;
  /** The etag that the writer has seen; empty: no check. */
  readonly etag: string;
  /** Undoes the write at its end, so that it is checked and nothing is written. Default false. */
  readonly validateOnly?: boolean;
}

/** What became of a write. */
export interface Written {
  readonly view: ScheduleView;
  readonly change: 'CREATED' | 'UPDATED' | 'UNCHANGED';
}

/** What the store needs. */
export interface ScheduleStoreOptions {
  readonly db: Kysely<ScheduleTables>;
  readonly entropy: Entropy;
  /** Told after every commit that wrote something. */
  readonly announce: () => void;
}

type Trx = Transaction<ScheduleTables>;

/**
 * Schedules in the database. Every write is one transaction that holds the schedule's row: what it decides on cannot change
 * meanwhile, and row, revision and span are written together or not at all.
 */
export class ScheduleStore {
  readonly #db: Kysely<ScheduleTables>;
  readonly #entropy: Entropy;
  readonly #announce: () => void;

  constructor(options: ScheduleStoreOptions) {
    this.#db = options.db;
    this.#entropy = options.entropy;
    this.#announce = options.announce;
  }

  /** Reads a schedule. @throws {DomainError} NOT_FOUND */
  async get(name: ScheduleName): Promise<ScheduleView> {
    return (await findScheduleView(this.#db, name)) ?? missing(name);
  }

  /** A page of schedules. */
  async list(page: ScheduleViewsPage): ReturnType<typeof listScheduleViews> {
    return await listScheduleViews(this.#db, page);
  }

  /** A page of revisions of a schedule. @throws {DomainError} NOT_FOUND */
  async revisions(
    name: ScheduleName,
    page: Omit<RevisionsPage, 'schedule'>,
  ): ReturnType<typeof listRevisions> {
    const { id } = await this.get(name);
    return await listRevisions(this.#db, { ...page, schedule: id });
  }

  /** Creates a schedule. @throws {DomainError} ALREADY_EXISTS */
  async create(name: ScheduleName, options: WriteOptions, decide: DecideNew): Promise<Written> {
    return await this.#write(options, async (trx) => {
      const newest = await lockNewestIncarnation(trx, name);
      if (newest !== undefined && newest.delete_micros === null) {
        throw alreadyExists('SCHEDULE_EXISTS', `${formatScheduleName(name)} exists`, { uid: newest.uid });
      }
      return await this.#insert(trx, name, newest, options, decide);
    });
  }

  /** Changes a schedule. @throws {DomainError} NOT_FOUND; ABORTED for a stale etag */
  async change(name: ScheduleName, options: WriteOptions, decide: DecideEdit): Promise<Written> {
    return await this.#write(options, async (trx) => {
      const row = (await lockSchedule(trx, name)) ?? missing(name);
      return await this.#edit(trx, name, row, options, decide);
    });
  }

  /** Changes a schedule, or creates it if there is none. @throws {DomainError} ABORTED for a stale etag, or one of a schedule that is gone */
  async put(
    name: ScheduleName,
    options: WriteOptions,
    edit: DecideEdit,
    create: DecideNew,
  ): Promise<Written> {
    return await this.#write(options, async (trx) => {
      // The name first, as all who create lock it: a row that was locked before would close a circle of waiting.
      const newest = await lockNewestIncarnation(trx, name);
      if (newest !== undefined && newest.delete_micros === null) {
        return await this.#edit(trx, name, newest, options, edit);
      }
      if (options.etag !== '') throw staleEtag(name, '');
      return await this.#insert(trx, name, newest, options, create);
    });
  }

  async #write(options: WriteOptions, body: (trx: Trx) => Promise<Written>): Promise<Written> {
    const written = await transaction(this.#db, {}, async (trx) => {
      const result = await body(trx);
      if (options.validateOnly === true) throw new Undone(result);
      return result;
    }).catch((error: unknown) => {
      if (error instanceof Undone) return error;
      throw error;
    });
    if (written instanceof Undone) return written.written;
    if (written.change !== 'UNCHANGED') this.#announce();
    return written;
  }

  async #insert(
    trx: Trx,
    name: ScheduleName,
    previous: ScheduleRow | undefined,
    { actor }: WriteOptions,
    decide: DecideNew,
  ): Promise<Written> {
    // Nor may an incarnation begin before the one before it ended: both have the same run names.
    const { instantMicros } = await readSpanHead(trx, previous?.id);
    const { revision, active, description, labels } = decide(instantMicros);
    const id = await insertSchedule(trx, {
      ...name,
      uid: this.#entropy.uuid(),
      description,
      labels,
      // Generations never restart at a name: readers apply changes in their order.
      generation: (previous?.generation ?? 0n) + 1n,
      hashSlot: hashSlot(name),
      active,
      instantMicros,
    });
    await insertRevision(trx, { schedule: id, revision: 1 }, revision, { actor, instantMicros });
    if (active) {
      await beginSpan(trx, instantMicros, {
        schedule: id,
        span: 1,
        revision: 1,
        state: 'ACTIVE',
        actor,
        reason: '',
      });
    }
    return { view: await readScheduleView(trx, id), change: 'CREATED' };
  }

  async #edit(
    trx: Trx,
    name: ScheduleName,
    { id, revision: newest }: ScheduleRow,
    { actor, etag }: WriteOptions,
    decide: DecideEdit,
  ): Promise<Written> {
    const view = await readScheduleView(trx, id);
    if (etag !== '' && etag !== etagOf(view)) throw staleEtag(name, etagOf(view));
    const { lastSpan, instantMicros } = await readSpanHead(trx, id);
    const edit = await decide({
      name,
      view,
      instantMicros,
      revision: (number) => readRevision(trx, id, number),
    });
    if (edit === undefined) return { view, change: 'UNCHANGED' };
    const revision = newest + 1;
    if (edit.revision !== undefined) {
      await insertRevision(trx, { schedule: id, revision }, edit.revision, { actor, instantMicros });
    }
    const { end, begin } = edit.span ?? {};
    if (end !== undefined) await endSpan(trx, id, instantMicros, end);
    if (begin !== undefined) {
      const span = { schedule: id, span: lastSpan + 1, actor, ...begin, reason: begin.reason ?? '' };
      await beginSpan(trx, instantMicros, span);
    }
    await writeSchedule(trx, id, instantMicros, {
      description: edit.description,
      labels: edit.labels,
      revision: edit.revision === undefined ? undefined : revision,
      activated: begin !== undefined,
      deleted: edit.deleted,
    });
    return { view: await readScheduleView(trx, id), change: 'UPDATED' };
  }
}

/** Ends a transaction that was only to be tried. */
class Undone extends Error {
  readonly written: Written;

  constructor(written: Written) {
    super('undone on purpose');
    this.written = written;
  }
}

function missing(name: ScheduleName): never {
  throw notFound(SCHEDULE_RESOURCE, formatScheduleName(name));
}

function staleEtag(name: ScheduleName, currentEtag: string): Error {
  const message = `${formatScheduleName(name)} was written by another; read it again`;
  return aborted('STALE_ETAG', message, { currentEtag });
}
