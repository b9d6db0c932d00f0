import type { ReplicaRow } from '@carillon/db/tables/scheduler-replicas.ts';
import type { ShardsStore } from '@carillon/scheduler/shards-store.ts';
import type { SimConnection } from './sim-connection.ts';
import type { World } from './world.ts';

/** A replica that has said nothing for so long counts no more. */
const SILENT_MS = 10_000;

/** A scheduler's way to assignments and the other replicas. */
export function createSimShardsStore(world: World, connection: SimConnection): ShardsStore {
  const { database } = world;
  const { leases, replicas } = database;
  return {
    readAssignments: () => connection.statement('read assignments', () => leases.readAssignments()),
    readVersionInForce: () => connection.statement('read version', () => leases.versionInForce),
    setAssignment: (assignment) =>
      connection.statement('set assignment', () => {
        if (!leases.setAssignment(assignment)) return;
        world.tell(
          () => `version ${assignment.version} of the sharding is set: ${JSON.stringify(assignment)}`,
        );
        world.released();
      }),
    readLedShards: (version) => connection.statement('read led shards', () => leases.readLed(version)),
    beatReplica: (replica) =>
      connection.statement('beat', () => {
        replicas.set(replica.instance, { ...replica, beatMs: database.now() });
      }),
    readReplicas: () =>
      connection.statement('read replicas', (): ReplicaRow[] =>
        [...replicas.values()]
          .map((row) => ({ ...row, silentMs: database.now() - row.beatMs }))
          .filter(({ silentMs }) => silentMs < SILENT_MS),
      ),
    removeReplica: (instance) => connection.statement('leave', () => void replicas.delete(instance)),
  };
}
