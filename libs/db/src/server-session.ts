/** Who answered: which history of the database, and over which session. */
export interface ServerSession {
  /**
   * System identifier and timeline. Another one means that a standby was promoted or a backup restored: commits may be missing, and nothing
   * that was read before is certain.
   */
  readonly lineage: string;
  /** Names the session for good. A crash of the server ends them all, so one that was there before proves that there was none since. */
  readonly session: string;
}

/** The lineage as an SQL expression; an error on a standby, which has none of its own. Any role may ask. */
export const LINEAGE = `(select system_identifier::text from pg_control_system())
  || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)`;

/** The lineage of a database that never had another. */
export const FIRST_LINEAGE = `(select system_identifier::text from pg_control_system()) || '/00000001'`;

/** Whether the session that a text expression names is still there, as an SQL condition. Asked over any connection of the same role. */
export function sessionLives(session: string): string {
  return `exists (select from pg_stat_get_activity(split_part(${session}, ' ', 1)::int)
    where pid || ' ' || backend_start = ${session})`;
}

/** The columns of {@link ServerSession}. */
export const SERVER_SESSION = `${LINEAGE} as lineage,
  (select pid || ' ' || backend_start from pg_stat_get_activity(pg_backend_pid())) as session`;
