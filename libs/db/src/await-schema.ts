import { type Backoff, backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep } from '@carillon/core/clock.ts';
import type pg from 'pg';
import { migrate } from './migrate.ts';
import { assertSchemaCompatible } from './schema-compatibility.ts';
import { isTransient } from './sqlstate.ts';

/** How a service waits for its database at the start. */
export interface AwaitSchemaOptions {
  readonly url: string;
  readonly pool: pg.Pool;
  /** Whether to apply pending migrations first. */
  readonly migrate: boolean;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Ends the waiting; its reason is thrown. */
  readonly signal: AbortSignal;
  /** Told why it is not ready yet, and of migrations. */
  readonly log: (line: string, error?: unknown) => void;
}

const DELAY: Backoff = { initialMs: 200, maxMs: 5_000 };

/**
 * Resolves when the database is there with a schema that this binary can work on. A database that cannot be reached yet, or is short of
 * something, is asked again and again: a blip at the start must not end a process.
 *
 * @throws SchemaIncompatibleError, ServerTooOldError, and whatever else does not pass by itself.
 */
export async function awaitSchema(options: AwaitSchemaOptions): Promise<void> {
  const { url, pool, clock, entropy, signal, log } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      if (options.migrate) {
        const applied = await migrate({ url, clock, entropy, log });
        if (applied.length > 0) log(`migrated: ${applied.join(', ')}`);
      }
      await assertSchemaCompatible(pool);
      return;
    } catch (error) {
      if (!isTransient(error)) throw error;
      log('the database is not there yet', error);
    }
    await sleep(clock, backoffMs(DELAY, attempt, entropy.fraction()), signal);
  }
}
