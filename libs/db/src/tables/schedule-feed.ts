import type { ShardScope, UnitKey } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { SERVER_SESSION, type ServerSession } from '../server-session.ts';
import { inSnapshot } from '../snapshot.ts';
import { inScope } from './schedule-scope.ts';
import { NEWEST_WATERMARK_FORMAT } from './scheduler-watermarks.ts';

/** One span of one schedule with what a scheduler needs to plan by it. Times are epoch milliseconds. */
export interface FeedRow {
  readonly id: number;
  /** {@link UID_BITS}. */
  readonly uidBits: number;
  readonly generation: number;
  readonly hashSlot: number;
  readonly project: string;
  readonly domain: string;
  readonly scheduleId: string;
  /** The anchor of a rate without a start time; null before the first activation. */
  readonly anchorMs: number | null;
  /** Null, like all that follows, for a schedule without spans that matter. */
  readonly span: number | null;
  readonly revision: number;
  readonly state: 'ACTIVE' | 'PAUSED';
  readonly fromMs: number;
  /** Null while it is open. */
  readonly toMs: number | null;
  readonly endReason: 'REVISED' | 'PAUSED' | 'UNPAUSED' | 'DEACTIVATED' | 'DELETED' | null;
  /** The revision's spec without its run, in the protobuf binary form. */
  readonly timing: Buffer;
  readonly payloadBytes: number;
  /** Whether a snapshot sees it that the watermark rests on: a frontier's, or the one of the read before. */
  readonly seen: boolean;
  /** In a read of everything: how far the frontiers whose snapshots see it speak for it, of all units that have ever held it; null: none. */
  readonly frontierMs: number | null;
}

/** A unit's or a schedule's stored watermark. */
export interface WatermarkRow {
  readonly throughMs: number;
  readonly settledAbove: readonly { readonly after: number; readonly through: number }[];
}

/** Where a read of the feed stood: its snapshot, as text, and who answered it. */
export interface FeedPosition {
  readonly snapshot: string;
  readonly server: ServerSession;
}

/** The snapshot to go on from, chosen when it is known who answers; what it throws ends the read. */
export type FeedCursor = (server: ServerSession) => string;

/** The stored watermarks of a shard. */
export interface StoredWatermarks {
  /** The newest snapshot that any frontier rests on: whatever it saw has survived; undefined without any frontier. */
  readonly feedSnapshot: string | undefined;
  /** The furthest of all frontiers, of whatever unit: -Infinity without any. */
  readonly furthestMs: number;
  /** Of the shard's units under its present strategy. */
  readonly frontiers: ReadonlyMap<UnitKey, number>;
  /** By schedule. */
  readonly laggards: ReadonlyMap<number, WatermarkRow>;
}

/** Rows of a newer format than this binary knows: it must not guess what they mean. */
export class NewerFormatError extends Error {
  override readonly name = 'NewerFormatError';
}

/**
 * The first 32 bits of a schedule's uid, as a signed number. A database that has lost commits gives their ids to other schedules: by this one tells
 * them apart.
 */
const UID_BITS = `('x' || left(s.uid::text, 8))::bit(32)::int as "uidBits"`;

const COLUMNS = `s.id::float8 as id, ${UID_BITS}, s.generation::float8 as generation, s.hash_slot as "hashSlot", s.project, s.domain,
  s.schedule_id as "scheduleId", floor(extract(epoch from s.anchor_time) * 1000)::float8 as "anchorMs",
  p.span, p.revision, p.state, floor(extract(epoch from p.from_time) * 1000)::float8 as "fromMs",
  floor(extract(epoch from p.to_time) * 1000)::float8 as "toMs", p.end_reason as "endReason", r.timing,
  octet_length(r.run) as "payloadBytes"`;

/** The frontiers of all units that a schedule is in, whatever the strategy. */
export const FRONTIERS_OF_SCHEDULE = `left join scheduler_frontiers f on f.unit = s.hash_slot
      left join scheduler_named_frontiers fp on fp.strategy = 'project' and fp.name = s.project
      left join scheduler_named_frontiers fd on fd.strategy = 'domain' and fd.name = s.domain`;

/** How far these speak for a span: those whose snapshot sees it. */
export const FRONTIER_OF_SPAN = `greatest(
        case when pg_visible_in_snapshot(p.xid, f.feed_snapshot) then f.due_through end,
        case when pg_visible_in_snapshot(p.xid, fp.feed_snapshot) then fp.due_through end,
        case when pg_visible_in_snapshot(p.xid, fd.feed_snapshot) then fd.due_through end)`;

const PAGE_ROWS = 5_000;

/** What may be unsettled of the schedules that a condition holds for, by the frontiers of their units. */
function everythingOf(condition: string): string {
  return `select ${COLUMNS}, frontier.due_through is not null as seen,
      floor(extract(epoch from frontier.due_through) * 1000)::float8 as "frontierMs"
    from schedules s
    join schedule_spans p on p.schedule = s.id
    join schedule_revisions r on r.schedule = p.schedule and r.revision = p.revision
    ${FRONTIERS_OF_SCHEDULE}
    cross join lateral (select ${FRONTIER_OF_SPAN} as due_through) frontier
    left join scheduler_laggards l on l.schedule = s.id
    where ${condition}
      and (p.to_time is null or p.to_time > case when frontier.due_through is null then '-infinity'
        else coalesce(l.due_through, frontier.due_through) end - ${GREATEST_JITTER})
    order by p.schedule, p.span`;
}

/** Slots lie at most this long before they fall due: the greatest jitter. */
const GREATEST_JITTER = `interval '1 day'`;

/**
 * Reads everything of a shard that may have unsettled slots, in one snapshot, and hands it out page by page; all spans of a schedule stand
 * together, oldest first.
 */
export async function readAllSchedules(
  client: pg.ClientBase,
  scope: ShardScope,
  onWatermarks: (watermarks: StoredWatermarks) => void,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<FeedPosition> {
  return await readFeed(client, async () => {
    const watermarks = await readWatermarks(client, scope);
    onWatermarks(watermarks);
    await client.query(
      `declare everything no scroll cursor for ${everythingOf(await cursorScope(client, scope))}`,
    );
    for (;;) {
      const { rows } = await client.query<FeedRow>(`fetch ${PAGE_ROWS} from everything`);
      await onPage(rows);
      if (rows.length < PAGE_ROWS) break;
    }
  });
}

/**
 * Reads of a shard what a full read would find otherwise than an earlier one: the schedules whose last write `cursor` could not see, those with a
 * watermark of their own, and those that are `overtaken`, given the watermarks. Tells first which these are, for of some of them there is nothing
 * left to read.
 */
export async function readOutdatedSchedules(
  client: pg.ClientBase,
  scope: ShardScope,
  cursor: FeedCursor,
  overtaken: (watermarks: StoredWatermarks) => Iterable<number>,
  onOutdated: (ids: ReadonlySet<number>) => void,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<FeedPosition> {
  return await readFeed(client, async ({ server }) => {
    const since = cursor(server);
    const watermarks = await readWatermarks(client, scope);
    const changed = await readChangedIds(client, scope, since);
    const outdated = new Set([...overtaken(watermarks), ...watermarks.laggards.keys(), ...changed]);
    onOutdated(outdated);
    const ids = [...outdated].sort((a, b) => a - b);
    for (let first = 0; first < ids.length; first += PAGE_ROWS) {
      const { rows } = await client.query<FeedRow>(everythingOf('s.id = any ($1::bigint[])'), [
        ids.slice(first, first + PAGE_ROWS),
      ]);
      await onPage(rows);
    }
  });
}

/**
 * Reads the schedules of a shard whose last write the snapshot `cursor` could not see: their spans that are open, that are news since
 * then, or that ended after `unsettledSinceMs` of the schedule (Infinity: nothing of it is unsettled).
 */
export async function readChangedSchedules(
  client: pg.ClientBase,
  scope: ShardScope,
  cursor: FeedCursor,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<FeedPosition> {
  return await readFeed(client, async ({ server }) => {
    const since = cursor(server);
    const changed = await readChangedIds(client, scope, since);
    await readSchedules(client, changed, since, unsettledSinceMs, onPage);
  });
}

/** The schedules of a shard whose last write the snapshot `since` could not see, in ascending order. */
async function readChangedIds(client: pg.ClientBase, scope: ShardScope, since: string): Promise<number[]> {
  const own = inScope(scope, 's', '$2');
  const { rows } = await client.query<{ id: number }>(
    `select s.id::float8 as id from schedules s
    where (s.xid >= pg_snapshot_xmax($1::pg_snapshot) or s.xid = any (array(select pg_snapshot_xip($1::pg_snapshot))))
      and ${own.sql}
    order by s.id`,
    [since, ...own.values],
  );
  return rows.map((row) => row.id);
}

/** Compares the generations of all schedules of a shard that have an open span, and reads those that `differs` says so of. */
export async function readMissedChanges(
  client: pg.ClientBase,
  scope: ShardScope,
  cursor: FeedCursor,
  differs: (id: number, generation: number) => boolean,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<FeedPosition> {
  return await readFeed(client, async ({ server }) => {
    const since = cursor(server);
    await client.query(
      `declare generations no scroll cursor for
      select s.id::float8 as id, s.generation::float8 as generation
      from schedules s join schedule_spans p on p.schedule = s.id and p.to_time is null
      where pg_visible_in_snapshot(s.xid, '${checkedSnapshot(since)}') and ${await cursorScope(client, scope)}`,
    );
    for (;;) {
      const { rows } = await client.query<{ id: number; generation: number }>(
        `fetch ${PAGE_ROWS} from generations`,
      );
      const different = rows.filter((row) => differs(row.id, row.generation)).map((row) => row.id);
      if (different.length > 0)
        await readSchedules(client, different, NOTHING_SEEN, unsettledSinceMs, onPage);
      if (rows.length < PAGE_ROWS) return;
    }
  });
}

/** A schedule as it is now, in short. */
export interface GenerationRow extends Pick<FeedRow, 'id' | 'uidBits' | 'generation'> {}

/** Hands out the generations of all schedules that there are, page by page; of none unless they are `wanted`, given who answers. */
export async function readGenerations(
  client: pg.ClientBase,
  wanted: (server: ServerSession) => boolean,
  onPage: (rows: readonly GenerationRow[]) => Promise<void>,
): Promise<FeedPosition> {
  return await readFeed(client, async ({ server }) => {
    if (!wanted(server)) return;
    await client.query(
      `declare generations no scroll cursor for
      select s.id::float8 as id, ${UID_BITS}, s.generation::float8 as generation from schedules s`,
    );
    for (;;) {
      const { rows } = await client.query<GenerationRow>(`fetch ${PAGE_ROWS} from generations`);
      await onPage(rows);
      if (rows.length < PAGE_ROWS) return;
    }
  });
}

async function readSchedules(
  client: pg.ClientBase,
  schedules: readonly number[],
  since: string,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<void> {
  for (let first = 0; first < schedules.length; first += PAGE_ROWS) {
    const ids = schedules.slice(first, first + PAGE_ROWS);
    const { rows } = await client.query<FeedRow>(
      `select ${COLUMNS}, coalesce(pg_visible_in_snapshot(p.xid, $3::pg_snapshot), true) as seen, null as "frontierMs"
      from unnest($1::bigint[], $2::float8[]) as changed (id, unsettled_since)
      join schedules s on s.id = changed.id
      left join schedule_spans p on p.schedule = s.id and (
        p.to_time is null or not pg_visible_in_snapshot(p.xid, $3::pg_snapshot)
        or p.to_time > to_timestamp(changed.unsettled_since / 1000) - ${GREATEST_JITTER})
      left join schedule_revisions r on r.schedule = p.schedule and r.revision = p.revision
      order by s.id, p.span`,
      [ids, ids.map(unsettledSinceMs), since],
    );
    await onPage(rows);
  }
}

/** A snapshot that sees nothing: all spans are news. */
const NOTHING_SEEN = '1:1:';

/** A cursor's query takes no parameters, so the text must be what it claims to be. */
function checkedSnapshot(text: string): string {
  if (!/^\d+:\d+:[\d,]*$/.test(text)) throw new Error('not a snapshot');
  return text;
}

/** Reads in one snapshot, and tells which: what the feed's cursor is made of. */
function readFeed(
  client: pg.ClientBase,
  read: (position: FeedPosition) => Promise<void>,
): Promise<FeedPosition> {
  return inSnapshot(client, async () => {
    const { rows } = await client.query<ServerSession & { snapshot: string }>(
      `select pg_current_snapshot()::text as snapshot, ${SERVER_SESSION}`,
    );
    const { snapshot, ...server } = rows[0]!;
    const position = { snapshot, server };
    await read(position);
    return position;
  });
}

/** As a cursor's query takes no parameters, a setting of the transaction carries the value. */
async function cursorScope(client: pg.ClientBase, scope: ShardScope): Promise<string> {
  const { sql, values } = inScope(scope, 's', `current_setting('carillon.scope')`);
  if (values.length > 0) await client.query(`select set_config('carillon.scope', $1, true)`, [...values]);
  return sql;
}

async function readWatermarks(client: pg.ClientBase, scope: ShardScope): Promise<StoredWatermarks> {
  const { rows: formats } = await client.query<{ format: number | null }>(
    `select greatest((select max(format) from scheduler_frontiers), (select max(format) from scheduler_laggards),
      (select max(format) from scheduler_named_frontiers)) as format`,
  );
  const format = formats[0]?.format ?? NEWEST_WATERMARK_FORMAT;
  if (format > NEWEST_WATERMARK_FORMAT) {
    throw new NewerFormatError(
      `watermarks are stored in format ${format}, and this version reads up to ${NEWEST_WATERMARK_FORMAT}: run the newer version`,
    );
  }
  const frontiers = await readFrontiers(client, scope);
  const { rows: newest } = await client.query<{ snapshot: string; furthestMs: number }>(
    `select feed_snapshot::text as snapshot, floor(extract(epoch from max(due_through) over ()) * 1000)::float8 as "furthestMs"
    from (
      select due_through, feed_snapshot from scheduler_frontiers
      union all select due_through, feed_snapshot from scheduler_named_frontiers
    ) as frontier
    order by pg_snapshot_xmax(feed_snapshot) desc limit 1`,
  );
  const own = inScope(scope, 's', '$1');
  const { rows: laggards } = await client.query<{ schedule: number; throughMs: number; ranges: string }>(
    `select l.schedule::float8 as schedule, floor(extract(epoch from l.due_through) * 1000)::float8 as "throughMs",
      ${SETTLED_ABOVE} as ranges
    from scheduler_laggards l
    ${own.values.length > 0 ? `join schedules s on s.id = l.schedule and ${own.sql}` : ''}`,
    [...own.values],
  );
  return {
    feedSnapshot: newest[0]?.snapshot,
    furthestMs: newest[0]?.furthestMs ?? Number.NEGATIVE_INFINITY,
    frontiers: new Map(frontiers.map((row) => [row.unit, row.throughMs])),
    laggards: new Map(
      laggards.map((row) => [
        row.schedule,
        {
          throughMs: row.throughMs,
          settledAbove: settledAbove(row.ranges),
        },
      ]),
    ),
  };
}

/** What of a laggard row `l` is settled above its watermark, as text for {@link settledAbove}. */
export const SETTLED_ABOVE = `(select coalesce(json_agg(json_build_array(floor(extract(epoch from lower(range)) * 1000),
        floor(extract(epoch from upper(range)) * 1000)) order by range), '[]')::text
      from unnest(l.settled_above) as range)`;

/** The ranges of {@link SETTLED_ABOVE}. */
export function settledAbove(text: string): WatermarkRow['settledAbove'] {
  return (JSON.parse(text) as [number, number][]).map(([after, through]) => ({ after, through }));
}

async function readFrontiers(
  client: pg.ClientBase,
  scope: ShardScope,
): Promise<{ unit: UnitKey; throughMs: number }[]> {
  const throughMs = `floor(extract(epoch from due_through) * 1000)::float8 as "throughMs"`;
  if (scope.strategy === 'hash') {
    const { rows } = await client.query<{ unit: number; throughMs: number }>(
      `select unit, ${throughMs} from scheduler_frontiers where unit = any ($1::smallint[])`,
      [scope.slots],
    );
    return rows;
  }
  const { rows } = await client.query<{ unit: string; throughMs: number }>(
    `select name as unit, ${throughMs} from scheduler_named_frontiers
    where strategy = $1 and (name = any ($2::text[])) <> $3`,
    [scope.strategy, scope.names, scope.others],
  );
  return rows;
}
