import { describe, expect, it } from 'vitest';
import { DomainError } from './domain-error.ts';
import {
  formatRunName,
  formatScheduleName,
  isNameSegment,
  parseParent,
  parseParentPattern,
  parseRunName,
  parseScheduleName,
} from './resource-name.ts';

function refusal(parse: () => unknown): unknown {
  try {
    parse();
  } catch (error) {
    if (error instanceof DomainError) return error.fault;
    throw error;
  }
  return undefined;
}

describe('resource names', () => {
  it('parses what it formats', () => {
    const schedule = { project: 'flytesnacks', domain: 'development', scheduleId: 'nightly' };
    expect(formatScheduleName(schedule)).toBe('projects/flytesnacks/domains/development/schedules/nightly');
    expect(parseScheduleName(formatScheduleName(schedule))).toEqual(schedule);
    const run = { project: 'p', domain: 'd', runId: 'r-1' };
    expect(parseRunName(formatRunName(run))).toEqual(run);
    expect(parseParent('projects/p/domains/d')).toEqual({ project: 'p', domain: 'd' });
  });

  it('takes - for all, in patterns only', () => {
    expect(parseParentPattern('projects/-/domains/d')).toEqual({ project: undefined, domain: 'd' });
    expect(parseParentPattern('projects/p/domains/-')).toEqual({ project: 'p', domain: undefined });
    expect(refusal(() => parseParent('projects/-/domains/d'))).toMatchObject({ kind: 'INVALID_ARGUMENT' });
  });

  it.each([
    '',
    'projects',
    'projects/p/domains',
    'projects/p/domains/d/',
    '/projects/p/domains/d',
    'projects/p/domains/d/schedules/s/x',
    'projects/P/domains/d/schedules/s',
    'projects/p/domains/d/runs/s',
    'projects/p/domains/d/schedules/',
    'projects/p/domains/d/schedules/-',
    'projects/p/domains/d/schedules/s\n',
    "projects/p/domains/d/schedules/s';drop table schedules",
    `projects/p/domains/d/schedules/${'a'.repeat(64)}`,
  ])('refuses %j as a schedule', (text) => {
    expect(refusal(() => parseScheduleName(text, 'schedule.name'))).toMatchObject({
      kind: 'INVALID_ARGUMENT',
      violations: [{ field: 'schedule.name', reason: 'RESOURCE_NAME' }],
    });
  });

  it('knows DNS-1035 labels', () => {
    for (const label of ['a', 'a1', 'a-b', 'a'.repeat(63)]) expect(isNameSegment(label)).toBe(true);
    for (const label of ['', '1a', '-a', 'a-', 'A', 'a_b', 'ä', 'a'.repeat(64)])
      expect(isNameSegment(label)).toBe(false);
  });
});
