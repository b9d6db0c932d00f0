import type pg from 'pg';
import { WATERMARK_FORMAT } from './scheduler-watermarks.ts';

/** One span of one schedule with what a scheduler needs to plan by it. Times are epoch milliseconds. */
export interface FeedRow {
  readonly id: number;
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
  /** Whether the snapshot sees it that the watermark rests on: the frontier's, or the one of the read before. */
  readonly seen: boolean;
}

/** A unit's or a schedule's stored watermark. */
export interface WatermarkRow {
  readonly throughMs: number;
  readonly settledAbove: readonly { readonly after: number; readonly through: number }[];
}

/** All stored watermarks. */
export interface StoredWatermarks {
  /** By unit. */
  readonly frontiers: ReadonlyMap<number, number>;
  /** By schedule. */
  readonly laggards: ReadonlyMap<number, WatermarkRow>;
}

/** Rows of a newer format than this binary knows: it must not guess what they mean. */
export class NewerFormatError extends Error {
  override readonly name = 'NewerFormatError';
}

const COLUMNS = `s.id::float8 as id, s.generation::float8 as generation, s.hash_slot as "hashSlot", s.project, s.domain,
  s.schedule_id as "scheduleId", floor(extract(epoch from s.anchor_time) * 1000)::float8 as "anchorMs",
  p.span, p.revision, p.state, floor(extract(epoch from p.from_time) * 1000)::float8 as "fromMs",
  floor(extract(epoch from p.to_time) * 1000)::float8 as "toMs", p.end_reason as "endReason", r.timing,
  octet_length(r.run) as "payloadBytes"`;

const PAGE_ROWS = 5_000;

/** Slots lie at most this long before they fall due: the greatest jitter. */
const GREATEST_JITTER = `interval '1 day'`;

/**
 * Reads everything that may have unsettled slots, in one snapshot, and hands it out page by page; all spans of a schedule stand
 * together, oldest first. Resolves to the snapshot, as text.
 */
export async function readAllSchedules(
  client: pg.ClientBase,
  onWatermarks: (watermarks: StoredWatermarks) => void,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<string> {
  return await inSnapshot(client, async (snapshot) => {
    const watermarks = await readWatermarks(client);
    onWatermarks(watermarks);
    await client.query(
      `declare everything no scroll cursor for
      select ${COLUMNS}, coalesce(pg_visible_in_snapshot(p.xid, f.feed_snapshot), false) as seen
      from schedules s
      join schedule_spans p on p.schedule = s.id
      join schedule_revisions r on r.schedule = p.schedule and r.revision = p.revision
      left join scheduler_frontiers f on f.unit = s.hash_slot
      left join scheduler_laggards l on l.schedule = s.id
      where p.to_time is null or p.to_time > coalesce(l.due_through, f.due_through, '-infinity') - ${GREATEST_JITTER}
      order by p.schedule, p.span`,
    );
    for (;;) {
      const { rows } = await client.query<FeedRow>(`fetch ${PAGE_ROWS} from everything`);
      await onPage(rows);
      if (rows.length < PAGE_ROWS) break;
    }
    return snapshot;
  });
}

/**
 * Reads the schedules whose last write the snapshot `since` could not see: their spans that are open, that are news since then,
 * or that ended after `unsettledSinceMs` of the schedule (Infinity: nothing of it is unsettled). Resolves to the snapshot of this read.
 */
export async function readChangedSchedules(
  client: pg.ClientBase,
  since: string,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<string> {
  return await inSnapshot(client, async (snapshot) => {
    const { rows: changed } = await client.query<{ id: number }>(
      `select id::float8 as id from schedules
      where xid >= pg_snapshot_xmax($1::pg_snapshot) or xid = any (array(select pg_snapshot_xip($1::pg_snapshot)))
      order by id`,
      [since],
    );
    await readSchedules(client, changed, since, unsettledSinceMs, onPage);
    return snapshot;
  });
}

/** Compares the generations of all schedules that have an open span, and reads those that `differs` says so of. */
export async function readMissedChanges(
  client: pg.ClientBase,
  since: string,
  differs: (id: number, generation: number) => boolean,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<string> {
  return await inSnapshot(client, async (snapshot) => {
    await client.query(
      `declare generations no scroll cursor for
      select s.id::float8 as id, s.generation::float8 as generation
      from schedules s join schedule_spans p on p.schedule = s.id and p.to_time is null
      where pg_visible_in_snapshot(s.xid, '${checkedSnapshot(since)}')`,
    );
    for (;;) {
      const { rows } = await client.query<{ id: number; generation: number }>(
        `fetch ${PAGE_ROWS} from generations`,
      );
      const different = rows.filter((row) => differs(row.id, row.generation));
      if (different.length > 0)
        await readSchedules(client, different, NOTHING_SEEN, unsettledSinceMs, onPage);
      if (rows.length < PAGE_ROWS) return snapshot;
    }
  });
}

async function readSchedules(
  client: pg.ClientBase,
  schedules: readonly { readonly id: number }[],
  since: string,
  unsettledSinceMs: (id: number) => number,
  onPage: (rows: readonly FeedRow[]) => Promise<void>,
): Promise<void> {
  for (let first = 0; first < schedules.length; first += PAGE_ROWS) {
    const ids = schedules.slice(first, first + PAGE_ROWS).map((row) => row.id);
    const { rows } = await client.query<FeedRow>(
      `select ${COLUMNS}, coalesce(pg_visible_in_snapshot(p.xid, $3::pg_snapshot), true) as seen
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

/** One read-only transaction that sees one snapshot throughout: what the feed's cursor is made of. */
async function inSnapshot(
  client: pg.ClientBase,
  read: (snapshot: string) => Promise<string>,
): Promise<string> {
  await client.query('begin isolation level repeatable read read only');
  try {
    const { rows } = await client.query<{ snapshot: string }>(
      'select pg_current_snapshot()::text as snapshot',
    );
    const result = await read(rows[0]!.snapshot);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((rollbackError: unknown) => {
      throw new AggregateError([error, rollbackError], 'a feed read failed, and so did its rollback');
    });
    throw error;
  }
}

async function readWatermarks(client: pg.ClientBase): Promise<StoredWatermarks> {
  const { rows: formats } = await client.query<{ format: number | null }>(
    `select greatest((select max(format) from scheduler_frontiers), (select max(format) from scheduler_laggards)) as format`,
  );
  const format = formats[0]?.format ?? WATERMARK_FORMAT;
  if (format > WATERMARK_FORMAT) {
    throw new NewerFormatError(
      `watermarks are stored in format ${format}, and this version reads up to ${WATERMARK_FORMAT}: run the newer version`,
    );
  }
  const { rows: frontiers } = await client.query<{ unit: number; throughMs: number }>(
    `select unit, floor(extract(epoch from due_through) * 1000)::float8 as "throughMs" from scheduler_frontiers`,
  );
  const { rows: laggards } = await client.query<{ schedule: number; throughMs: number; ranges: string }>(
    `select schedule::float8 as schedule, floor(extract(epoch from due_through) * 1000)::float8 as "throughMs",
      (select coalesce(json_agg(json_build_array(floor(extract(epoch from lower(range)) * 1000),
        floor(extract(epoch from upper(range)) * 1000)) order by range), '[]')::text
      from unnest(settled_above) as range) as ranges
    from scheduler_laggards`,
  );
  return {
    frontiers: new Map(frontiers.map((row) => [row.unit, row.throughMs])),
    laggards: new Map(
      laggards.map((row) => [
        row.schedule,
        {
          throughMs: row.throughMs,
          settledAbove: (JSON.parse(row.ranges) as [number, number][]).map(([after, through]) => ({
            after,
            through,
          })),
        },
      ]),
    ),
  };
}
