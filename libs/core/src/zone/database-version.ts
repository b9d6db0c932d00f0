/**
 * The version of the time zone database this process plans with, e.g. `2026a`; `unknown` on a runtime that does
 * not tell. A process-wide constant: services export it as a metric and in the status of schedules.
 */
export const ZONE_DATABASE_VERSION: string = process.versions.tz ?? 'unknown';
