import { invalidArgument } from './domain-error.ts';

/** Where schedules and runs live: `projects/{project}/domains/{domain}`. */
export interface Parent {
  readonly project: string;
  readonly domain: string;
}

/** A parent in which `-` stood for all: those segments are `undefined`. */
export interface ParentPattern {
  readonly project: string | undefined;
  readonly domain: string | undefined;
}

/** `projects/{project}/domains/{domain}/schedules/{scheduleId}`. */
export interface ScheduleName extends Parent {
  readonly scheduleId: string;
}

/** `projects/{project}/domains/{domain}/runs/{runId}`. */
export interface RunName extends Parent {
  readonly runId: string;
}

/** The type of a schedule in errors. */
export const SCHEDULE_RESOURCE = 'carillon.dev/Schedule';

/** The type of a revision of a schedule in errors. */
export const SCHEDULE_REVISION_RESOURCE = 'carillon.dev/ScheduleRevision';

/** The type of a run in errors. */
export const RUN_RESOURCE = 'carillon.dev/Run';

/** The segment that stands for all projects, or all domains, in lists. */
export const ANY_SEGMENT = '-';

const LABEL = /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** True for a DNS-1035 label of at most 63 characters: what every segment of a name is. */
export function isNameSegment(text: string): boolean {
  return LABEL.test(text);
}

/** Parses a parent without wildcards. `field` is the path of the text in the request. @throws {DomainError} INVALID_ARGUMENT */
export function parseParent(text: string, field = 'parent'): Parent {
  const [project, domain] = segments(text, ['projects', 'domains'], field);
  return { project: project!, domain: domain! };
}

/** Parses a parent in which `-` may stand for all. @throws {DomainError} INVALID_ARGUMENT */
export function parseParentPattern(text: string, field = 'parent'): ParentPattern {
  const [project, domain] = segments(text, ['projects', 'domains'], field, true);
  return {
    project: project === ANY_SEGMENT ? undefined : project,
    domain: domain === ANY_SEGMENT ? undefined : domain,
  };
}

/** Parses a schedule's resource name. @throws {DomainError} INVALID_ARGUMENT */
export function parseScheduleName(text: string, field = 'name'): ScheduleName {
  const [project, domain, scheduleId] = segments(text, ['projects', 'domains', 'schedules'], field);
  return { project: project!, domain: domain!, scheduleId: scheduleId! };
}

/** Parses a run's resource name. @throws {DomainError} INVALID_ARGUMENT */
export function parseRunName(text: string, field = 'name'): RunName {
  const [project, domain, runId] = segments(text, ['projects', 'domains', 'runs'], field);
  return { project: project!, domain: domain!, runId: runId! };
}

/** `projects/{project}/domains/{domain}`. */
export function formatParent({ project, domain }: Parent): string {
  return `projects/${project}/domains/${domain}`;
}

/** `projects/{project}/domains/{domain}/schedules/{scheduleId}`. */
export function formatScheduleName(name: ScheduleName): string {
  return `${formatParent(name)}/schedules/${name.scheduleId}`;
}

/** `projects/{project}/domains/{domain}/runs/{runId}`. */
export function formatRunName(name: RunName): string {
  return `${formatParent(name)}/runs/${name.runId}`;
}

function segments(
  text: string,
  collections: readonly string[],
  field: string,
  wildcards = false,
): readonly string[] {
  const parts = text.split('/');
  const ids = parts.filter((_, index) => index % 2 === 1);
  const wellFormed =
    parts.length === collections.length * 2 &&
    collections.every((collection, index) => parts[index * 2] === collection) &&
    ids.every((id) => isNameSegment(id) || (wildcards && id === ANY_SEGMENT));
  if (wellFormed) return ids;
  const form = collections.map((collection) => `${collection}/{${collection.slice(0, -1)}}`).join('/');
  throw invalidArgument({
    field,
    description: `must be ${form}, each segment a DNS-1035 label${wildcards ? ` or ${ANY_SEGMENT}` : ''}`,
    reason: 'RESOURCE_NAME',
  });
}
