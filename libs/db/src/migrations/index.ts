import type { SchemaMigration } from '../schema-migration.ts';
import * as schedules from './0001-schedules.ts';
import * as runs from './0002-runs.ts';
import * as scheduler from './0003-scheduler.ts';
import * as slotRedrives from './0004-slot-redrives.ts';
import * as schedulerReplicas from './0005-scheduler-replicas.ts';
import * as concurrencyKeys from './0006-concurrency-keys.ts';
import * as sharding from './0007-sharding.ts';
import * as endedQuarantines from './0008-ended-quarantines.ts';
import * as uncountedSlots from './0009-uncounted-slots.ts';
import * as leaseLineage from './0010-lease-lineage.ts';

/**
 * All migrations by name, oldest first. A name is `<four-digit version>-<what>`, versions rise by one, and neither
 * a name nor what it does ever changes once released.
 */
export const migrations: Readonly<Record<string, SchemaMigration>> = {
  '0001-schedules': schedules,
  '0002-runs': runs,
  '0003-scheduler': scheduler,
  '0004-slot-redrives': slotRedrives,
  '0005-scheduler-replicas': schedulerReplicas,
  '0006-concurrency-keys': concurrencyKeys,
  '0007-sharding': sharding,
  '0008-ended-quarantines': endedQuarantines,
  '0009-uncounted-slots': uncountedSlots,
  '0010-lease-lineage': leaseLineage,
};
