import type { Notifier } from '@carillon/db';
import { RUNS_READY_CHANNEL } from '@carillon/db/tables/ready-runs.ts';
import { RUNS_CHANGED_CHANNEL, type RunRow } from '@carillon/db/tables/runs.ts';

/** Announces changes after their commit. Hints only: whoever listens looks by itself every second. */
export class RunHints {
  readonly #notifier: Pick<Notifier, 'notify'>;

  constructor(notifier: Pick<Notifier, 'notify'>) {
    this.#notifier = notifier;
  }

  /** Runs were created, or have changed. */
  changed(rows: readonly Pick<RunRow, 'phase' | 'queue'>[]): void {
    if (rows.length === 0) return;
    this.#notifier.notify(RUNS_CHANGED_CHANNEL);
    const queues = new Set(rows.filter(({ phase }) => phase === 'QUEUED').map(({ queue }) => queue));
    for (const queue of queues) this.#notifier.notify(RUNS_READY_CHANNEL, queue);
  }
}
