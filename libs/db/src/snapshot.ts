import type pg from 'pg';

/**
 * Reads in one read-only transaction on a connection that is in none: all its statements see the same. An error of `read` is thrown when
 * the transaction has been rolled back; if that fails too, an AggregateError with both, and the connection is of no use any more.
 */
export async function inSnapshot<T>(client: pg.ClientBase, read: () => Promise<T>): Promise<T> {
  await client.query('begin isolation level repeatable read read only');
  try {
    const result = await read();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((rollbackError: unknown) => {
      throw new AggregateError([error, rollbackError], 'a read failed, and so did its rollback');
    });
    throw error;
  }
}

/** The same on a connection of a pool. */
export async function inPoolSnapshot<T>(
  pool: pg.Pool,
  read: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken = false;
  try {
    return await inSnapshot(client, () => read(client));
  } catch (error) {
    broken = error instanceof AggregateError;
    throw error;
  } finally {
    client.release(broken);
  }
}
