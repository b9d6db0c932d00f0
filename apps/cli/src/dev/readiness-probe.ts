import {
  type GetStatusResponse,
  ReplicaState,
  type SchedulerService,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { type Client, ConnectError } from '@connectrpc/connect';

/** Asks whether a process does its work: undefined if so, else why not. Throws when it does not answer at all. */
export type ReadinessProbe = (signal: AbortSignal) => Promise<string | undefined>;

/** Asks a service's `/readyz`; the reason names the checks that fail. */
export function serviceProbe(url: string): ReadinessProbe {
  return async (signal) => {
    const response = await fetch(`${url}/readyz`, { signal });
    const text = await response.text();
    return response.ok ? undefined : failingChecks(text) || `answers ${response.status}`;
  };
}

/**
 * Asks a scheduler what it does, too: one that stands by is as ready as it can be, but here it is the only one of this
 * machine, and nothing fires.
 */
export function schedulerProbe(url: string, client: Client<typeof SchedulerService>): ReadinessProbe {
  const ready = serviceProbe(url);
  return async (signal) => {
    const reason = await ready(signal);
    if (reason !== undefined) return reason;
    try {
      return idleReason(await client.getStatus({}, { signal }));
    } catch (error) {
      if (!(error instanceof ConnectError) || signal.aborted) throw error;
      return `does not say what it does: ${error.rawMessage}`;
    }
  };
}

/** Why nothing fires here; undefined for a scheduler that leads. */
function idleReason({ replica, replicas }: GetStatusResponse): string | undefined {
  switch (replica?.state) {
    case ReplicaState.LEADING:
      return undefined;
    case ReplicaState.STANDBY_READY: {
      const leader = replicas.find(({ state }) => state === ReplicaState.LEADING);
      return leader === undefined
        ? 'waits for the lease'
        : `stands by: ${leader.instance} at ${leader.url} leads`;
    }
    case ReplicaState.DRAINING:
      return 'hands over';
    default:
      return 'loads the schedules';
  }
}

function failingChecks(text: string): string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return '';
  }
  if (typeof json !== 'object' || json === null || !('failing' in json) || !Array.isArray(json.failing))
    return '';
  return json.failing
    .filter(
      (check): check is { name: unknown; reason: unknown } => typeof check === 'object' && check !== null,
    )
    .map(({ name, reason }) => `${String(name)}: ${String(reason)}`)
    .join('; ');
}
