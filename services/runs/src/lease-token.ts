import { failedPrecondition } from '@carillon/core/domain-error.ts';
import { parseRunName } from '@carillon/core/resource-name.ts';
import { utcDay } from '@carillon/db/partitions.ts';
import type { HeldLease } from '@carillon/db/tables/run-leases.ts';
import type { LeaseRef } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { runNameOf } from './run-message.ts';

const TOKEN = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{4}-\d{2}-\d{2})$/;

/** A lease's token as workers hold it: it carries the run's day, which saves looking for the run on every day. */
export function formatLeaseToken({ token, day }: Pick<HeldLease, 'token' | 'day'>): string {
  return `${token}.${day}`;
}

/** The lease that a worker names; undefined for a token that this service never gave out. @throws {DomainError} INVALID_ARGUMENT for a malformed run name. */
export function parseLeaseRef({ run, leaseToken }: LeaseRef, field: string): HeldLease | undefined {
  const { project, domain, runId } = parseRunName(run, `${field}.run`);
  const [, token, day] = TOKEN.exec(leaseToken) ?? [];
  if (token === undefined || day === undefined || !isDay(day)) return undefined;
  return { project, domain, run_id: runId, day, token };
}

/** Identifies a lease as its holder names it: the same token beside another run's name is another, which does not exist. */
export function leaseId(lease: HeldLease): string {
  return `${lease.token} ${runNameOf(lease)}`;
}

function isDay(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`);
  // The 30th of February is parsed as a day of March.
  return !Number.isNaN(time) && utcDay(time * 1000) === text;
}

/** The error for a stale token. */
export function leaseLost(run: string): Error {
  return failedPrecondition('LEASE_LOST', `the lease of ${run} is lost: stop working on it`, { run });
}
