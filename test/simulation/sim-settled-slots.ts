import type { RedriveKey } from '@carillon/db/tables/slot-redrives.ts';
import type { SettledSlotsStore } from '@carillon/scheduler/settled-slots-store.ts';
import { scopeFor } from './shard-scopes.ts';
import type { SimConnection } from './sim-connection.ts';
import { endedPauses } from './sim-ended-pauses.ts';
import type { RedriveRow } from './sim-redrives.ts';
import type { SimShard } from './sim-store.ts';
import type { World } from './world.ts';

/** The scheduler's way to redrives and ended pauses. What is settled must have been taken up: another request for the slot is another's. */
export function createSimSettledSlots(
  world: World,
  connection: SimConnection,
  { assignment, shard, owner }: SimShard,
): SettledSlotsStore {
  const { database } = world;
  const { redrives } = database;
  const scope = scopeFor(assignment, shard);
  const takenUp = new Set<RedriveRow>();
  const requestsOf = (keys: readonly RedriveKey[]): RedriveRow[] =>
    keys.flatMap((key) => redrives.find(key) ?? []);
  return {
    readRedriveKeys: (limit) =>
      connection.statement('read redrive keys', () => redrives.readKeys(scope, limit)),
    readRedrives: (keys) =>
      connection.statement('read redrives', () => {
        for (const request of requestsOf(keys)) takenUp.add(request);
        return redrives.read(keys);
      }),
    settleRedrives: ({ epoch, lineage }, settled) =>
      connection.statement('settle redrives', () => {
        const before = requestsOf(settled);
        const written =
          lineage === database.leases.lineage && redrives.settle({ shard, owner, epoch }, settled);
        for (const request of written ? before : []) {
          if (takenUp.has(request) || redrives.find(request) === request) continue;
          world.violated(
            `${owner} settled a redrive of ${request.schedule} at ${request.nominalMs / 1000} that it had not taken up`,
          );
        }
        world.tell(
          () =>
            `${owner} settles redrives${written ? '' : ', which is refused'}: ${settled.map(({ schedule, nominalMs, outcome, reason }) => `${schedule} at ${nominalMs / 1000} ${outcome}(${reason})`).join(', ')}`,
        );
        return written;
      }),
    readEndedPauses: (after, limit) =>
      connection.statement('read ended pauses', () => endedPauses(database, scope, after, limit)),
  };
}
