import { type Backoff, backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep } from '@carillon/core/clock.ts';
import { type IsolationLevel, type Kysely, sql, type Transaction } from 'kysely';
import { isConflict } from './sqlstate.ts';

/** How a transaction runs. */
export interface TransactionOptions {
  /** Default: read committed. */
  readonly isolation?: IsolationLevel;
  /** Refuses writes. Default false. */
  readonly readOnly?: boolean;
  /** Limit for the whole of each try, in milliseconds; the server ends the connection. Default: the pool's. */
  readonly timeoutMs?: number;
  /** How to try again after a conflict with other transactions. Default: it is thrown. */
  readonly retry?: ConflictRetry;
}

/** How often, and with what delay, a transaction that lost against others is repeated. */
export interface ConflictRetry {
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Tries in all. Default 5. */
  readonly attempts?: number;
  /** Ends the waiting; the signal's reason is thrown. */
  readonly signal?: AbortSignal;
}

const DELAY: Backoff = { initialMs: 10, maxMs: 500 };

/**
 * Runs `fn` in a transaction: committed when it resolves, rolled back when it rejects. With `retry` it is run
 * again after a serialization failure or a deadlock, and only then, so `fn` must have no effect but on the
 * database. A connection that is lost during the commit leaves its outcome unknown and is never retried.
 */
export async function transaction<Tables, Result>(
  db: Kysely<Tables>,
  options: TransactionOptions,
  fn: (trx: Transaction<Tables>) => Promise<Result>,
): Promise<Result> {
  const { retry } = options;
  const attempts = retry ? (retry.attempts ?? 5) : 1;
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(db, options, fn);
    } catch (error) {
      if (!retry || attempt >= attempts || !isConflict(error)) throw error;
      await sleep(retry.clock, backoffMs(DELAY, attempt, retry.entropy.fraction()), retry.signal);
    }
  }
}

async function once<Tables, Result>(
  db: Kysely<Tables>,
  options: TransactionOptions,
  fn: (trx: Transaction<Tables>) => Promise<Result>,
): Promise<Result> {
  let builder = db.transaction();
  if (options.isolation) builder = builder.setIsolationLevel(options.isolation);
  if (options.readOnly) builder = builder.setAccessMode('read only');
  let failure: { readonly reason: unknown } | undefined;
  try {
    return await builder.execute(async (trx) => {
      try {
        await limit(trx, options.timeoutMs);
        return await fn(trx);
      } catch (reason) {
        failure = { reason };
        throw reason;
      }
    });
  } catch (error) {
    // On a broken connection the rollback fails too, and Kysely throws that; what broke it says more.
    throw failure ? failure.reason : error;
  }
}

/** Replaces the pool's limit for the rest of the transaction. */
async function limit<Tables>(trx: Transaction<Tables>, timeoutMs: number | undefined): Promise<void> {
  if (timeoutMs === undefined) return;
  // The timer of the pool's limit runs already, and a new value alone does not move it: stop it, start anew.
  const value = sql.lit(timeoutMs);
  await sql`set local transaction_timeout = 0; set local transaction_timeout = ${value}`.execute(trx);
}
